#pragma once

#include <cmath>
#include <cstdint>

#include "core/device.h"

// What both devices do for a point, in the same order of operations. `At` gives element i of an
// array: a pointer, or what stands for one in a kernel.

namespace cmad {

constexpr int kFpfhBins = 11, kFpfhChannels = 33;

struct Vector {
  double x, y, z;
};
CMAD_BOTH inline Vector operator-(const Vector& a, const Vector& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
CMAD_BOTH inline Vector operator*(double s, const Vector& a) { return {s * a.x, s * a.y, s * a.z}; }
CMAD_BOTH inline double dot(const Vector& a, const Vector& b) {
  return (a.x * b.x + a.y * b.y) + a.z * b.z;
}
CMAD_BOTH inline Vector cross(const Vector& a, const Vector& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

/// A symmetric matrix.
struct Symmetric {
  double xx, xy, xz, yy, yz, zz;
};
CMAD_BOTH inline Vector times(const Symmetric& a, const Vector& v) {
  return {(a.xx * v.x + a.xy * v.y) + a.xz * v.z, (a.xy * v.x + a.yy * v.y) + a.yz * v.z,
          (a.xz * v.x + a.yz * v.y) + a.zz * v.z};
}

/// The eigenvector of a value that is the smallest or largest: across the two rows of a - value
/// that are the least parallel.
CMAD_BOTH inline Vector extreme_vector(const Symmetric& a, double value) {
  const Vector row[3] = {
      {a.xx - value, a.xy, a.xz}, {a.xy, a.yy - value, a.yz}, {a.xz, a.yz, a.zz - value}};
  const Vector across[3] = {cross(row[0], row[1]), cross(row[0], row[2]), cross(row[1], row[2])};
  Vector best = across[0];
  double most = dot(best, best);
  for (int i = 1; i < 3; ++i) {
    const double length = dot(across[i], across[i]);
    if (length > most) {
      most = length;
      best = across[i];
    }
  }
  const double scale = std::sqrt(most);
  return {best.x / scale, best.y / scale, best.z / scale};
}

/// The eigenvector of the middle value, in the plane across another one.
CMAD_BOTH inline Vector middle_vector(const Symmetric& a, const Vector& other, double value) {
  Vector u;
  if (std::fabs(other.x) > std::fabs(other.y)) {
    const double scale = 1 / std::sqrt(other.x * other.x + other.z * other.z);
    u = {-other.z * scale, 0, other.x * scale};
  } else {
    const double scale = 1 / std::sqrt(other.y * other.y + other.z * other.z);
    u = {0, other.z * scale, -other.y * scale};
  }
  const Vector v = cross(other, u), au = times(a, u), av = times(a, v);
  double uu = dot(u, au) - value, vv = dot(v, av) - value, uv = dot(u, av);
  const double size_uu = std::fabs(uu), size_uv = std::fabs(uv), size_vv = std::fabs(vv);
  const bool by_u = size_uu >= size_vv;
  double& own = by_u ? uu : vv;
  if (!((by_u ? size_uu : size_vv) > 0 || size_uv > 0)) return u;
  if ((by_u ? size_uu : size_vv) >= size_uv) {
    uv /= own;
    own = 1 / std::sqrt(1 + uv * uv);
    uv *= own;
  } else {
    own /= uv;
    uv = 1 / std::sqrt(1 + own * own);
    own *= uv;
  }
  return by_u ? uv * u - uu * v : vv * u - uv * v;
}

/// The eigenvector of the smallest eigenvalue, in closed form. Its sign is part of the contract.
CMAD_BOTH inline Vector smallest_vector(Symmetric a) {
  double most = 0;
  for (const double value : {a.xx, a.xy, a.xz, a.yy, a.yz, a.zz}) {
    const double size = std::fabs(value);
    if (size > most) most = size;
  }
  if (most == 0) return {0, 0, 0};
  a = {a.xx / most, a.xy / most, a.xz / most, a.yy / most, a.yz / most, a.zz / most};
  const double beside = a.xy * a.xy + a.xz * a.xz + a.yz * a.yz;
  if (!(beside > 0)) {
    if (a.xx < a.yy && a.xx < a.zz) return {1, 0, 0};
    if (a.yy < a.xx && a.yy < a.zz) return {0, 1, 0};
    return {0, 0, 1};
  }
  const double mean = (a.xx + a.yy + a.zz) / 3;
  const double xx = a.xx - mean, yy = a.yy - mean, zz = a.zz - mean;
  const double p = std::sqrt((xx * xx + yy * yy + zz * zz + beside * 2) / 6);
  const double c0 = yy * zz - a.yz * a.yz, c1 = a.xy * zz - a.yz * a.xz,
               c2 = a.xy * a.yz - yy * a.xz;
  double half = (xx * c0 - a.xy * c1 + a.xz * c2) / (p * p * p) * 0.5;
  half = half < -1 ? -1 : half > 1 ? 1 : half;
  const double angle = std::acos(half) / 3, third = 2.09439510239319549;
  const double beta2 = std::cos(angle) * 2, beta0 = std::cos(angle + third) * 2;
  const double beta1 = -(beta0 + beta2);
  const double e0 = mean + p * beta0, e1 = mean + p * beta1, e2 = mean + p * beta2;
  if (half >= 0) {
    const Vector v2 = extreme_vector(a, e2);
    if (e2 < e0 && e2 < e1) return v2;
    const Vector v1 = middle_vector(a, v2, e1);
    return e1 < e0 && e1 < e2 ? v1 : cross(v1, v2);
  }
  const Vector v0 = extreme_vector(a, e0);
  if (e0 < e1 && e0 < e2) return v0;
  const Vector v1 = middle_vector(a, v0, e1);
  return e1 < e0 && e1 < e2 ? v1 : cross(v0, v1);
}

template <class At>
CMAD_BOTH inline Vector vector_at(const At& values, std::int64_t n) {
  return {double(values[3 * n]), double(values[3 * n + 1]), double(values[3 * n + 2])};
}

/// The normal of a point from its neighbours; `count` of them are looked at.
template <class Xyz, class Index>
CMAD_BOTH inline Vector normal_of(const Xyz& xyz, std::int64_t n, std::int64_t first,
                                  const Index& neighbour, std::int64_t count, double radius) {
  const Vector at = vector_at(xyz, n);
  double sum[9] = {}, within = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const Vector q = vector_at(xyz, first + std::int64_t(neighbour[k])), d = q - at;
    if (!(dot(d, d) < radius * radius)) continue;
    within += 1;
    sum[0] += q.x;
    sum[1] += q.y;
    sum[2] += q.z;
    sum[3] += q.x * q.x;
    sum[4] += q.x * q.y;
    sum[5] += q.x * q.z;
    sum[6] += q.y * q.y;
    sum[7] += q.y * q.z;
    sum[8] += q.z * q.z;
  }
  if (within < 3) return {0, 0, 1};
  for (double& s : sum) s /= within;
  const Vector v = smallest_vector({sum[3] - sum[0] * sum[0], sum[4] - sum[0] * sum[1],
                                    sum[5] - sum[0] * sum[2], sum[6] - sum[1] * sum[1],
                                    sum[7] - sum[1] * sum[2], sum[8] - sum[2] * sum[2]});
  const double length = std::sqrt(dot(v, v));
  if (!(length > 0)) return {0, 0, 1};
  return {v.x / length, v.y / length, v.z / length};
}

/// A bin of 11 for a share of the range.
CMAD_BOTH inline int fpfh_bin(double share) {
  const int bin = int(kFpfhBins * share);  // towards 0: what is below 0 is in the first bin, too
  return bin < 0 ? 0 : bin >= kFpfhBins ? kFpfhBins - 1 : bin;
}

/// The bin of the angle of (x, y), from -pi to pi, in front: without atan2(), the tangents of the
/// borders are compared with.
CMAD_BOTH inline int front_bin(double y, double x) {
  // of pi / 11, 3 pi / 11 and 5 pi / 11
  constexpr double kTan[3] = {0.29362649293836673, 1.1540615205330094, 6.9551527717734745};
  const double t = y / x;
  int bin = kFpfhBins / 2;
  for (const double border : kTan) bin += int(t >= border) - int(t < -border);
  return bin;
}

/// The same, from behind, where hardly any is.
CMAD_BOTH inline int rear_bin(double y, double x) {
  constexpr double kPi = 3.14159265358979323846;
  return fpfh_bin((std::atan2(y, x) + kPi) / (2 * kPi));
}

/// The three angles of a pair of points: that of (x, y), and two cosines as shares of their range.
struct PairAngles {
  double y, x, tilt, along;
};

/// Without a branch, so that a loop over it may become vector instructions. Where there is no line
/// between the points, or no plane of it and the normal, all angles are 0.
CMAD_BOTH inline PairAngles pair_angles(const Vector& p1, const Vector& n1, const Vector& p2,
                                        const Vector& n2) {
  const Vector d = p2 - p1;
  const double length = std::sqrt(dot(d, d));
  const double a1 = dot(n1, d) / length, a2 = dot(n2, d) / length;
  const bool turned = std::fabs(a1) < std::fabs(a2);  // the angle at the first point is the larger
  const Vector m1{turned ? n2.x : n1.x, turned ? n2.y : n1.y, turned ? n2.z : n1.z};
  const Vector m2{turned ? n1.x : n2.x, turned ? n1.y : n2.y, turned ? n1.z : n2.z};
  const Vector e{turned ? -d.x : d.x, turned ? -d.y : d.y, turned ? -d.z : d.z};
  const double along = turned ? -a2 : a1;
  Vector v = cross(e, m1);
  const double across = std::sqrt(dot(v, v));
  v = {v.x / across, v.y / across, v.z / across};
  const double y = dot(cross(m1, v), m2), x = dot(m1, m2), tilt = dot(v, m2);
  const bool known = length != 0 && across != 0;
  return {known ? y : 0, known ? x : 1, known ? (tilt + 1) * 0.5 : 0.5,
          known ? (along + 1) * 0.5 : 0.5};
}

/// The bins of the three angles of a pair of points.
CMAD_BOTH inline void pair_bins(const Vector& p1, const Vector& n1, const Vector& p2,
                                const Vector& n2, int (&bin)[3]) {
  const PairAngles a = pair_angles(p1, n1, p2, n2);
  bin[0] = a.x > 0 ? front_bin(a.y, a.x) : rear_bin(a.y, a.x);
  bin[1] = fpfh_bin(a.tilt);
  bin[2] = fpfh_bin(a.along);
}

/// The simple histogram of a point, written to 33 channels.
template <class Xyz, class Index, class Normal, class Out>
CMAD_BOTH inline void simple_histogram(const Xyz& xyz, std::int64_t n, std::int64_t first,
                                       const Index& neighbour, std::int64_t count, double radius,
                                       const Normal& normal, Out& out) {
  const Vector at = vector_at(xyz, n), own = vector_at(normal, n);
  double times[kFpfhChannels] = {};
  std::int64_t within = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t other = first + std::int64_t(neighbour[k]);
    const Vector q = vector_at(xyz, other), d = q - at;
    if (!(dot(d, d) < radius * radius)) continue;
    if (within++ == 0) continue;
    int bin[3];
    pair_bins(at, own, q, vector_at(normal, other), bin);
    for (int angle = 0; angle < 3; ++angle) times[kFpfhBins * angle + bin[angle]] += 1;
  }
  const double each = within > 1 ? 100.0 / double(within - 1) : 0;
  for (int c = 0; c < kFpfhChannels; ++c) out[c] = times[c] * each;
}

/// Calls `f(i, neighbour, weight)` for the neighbours that count, from i = 0 on; returns how many.
template <class Xyz, class Index, class F>
CMAD_BOTH inline std::int64_t weigh(const Xyz& xyz, std::int64_t n, std::int64_t first,
                                    const Index& neighbour, std::int64_t count, double radius,
                                    F&& f) {
  const Vector at = vector_at(xyz, n);
  bool itself = true;
  std::int64_t found = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::int64_t other = first + std::int64_t(neighbour[k]);
    const Vector d = vector_at(xyz, other) - at;
    const double d2 = dot(d, d);
    if (!(d2 < radius * radius)) continue;
    if (!itself && d2 != 0) f(found++, other, 1 / d2);
    itself = false;
  }
  return found;
}

/// Scales the neighbours' sums to 100 for each angle, and adds the point's own simple histogram.
template <class Simple, class Out>
CMAD_BOTH inline void add_own(const double (&sum)[kFpfhChannels], const Simple& simple,
                              std::int64_t n, Out& out) {
  for (int angle = 0; angle < 3; ++angle) {
    double total = 0;
    for (int c = 0; c < kFpfhBins; ++c) total += sum[kFpfhBins * angle + c];
    const double scale = total != 0 ? 100 / total : 0;
    for (int c = kFpfhBins * angle; c < kFpfhBins * (angle + 1); ++c)
      out[c] = sum[c] * scale + double(simple[kFpfhChannels * n + c]);
  }
}

/// A point's own simple histogram and its neighbours', written to 33 channels.
template <class Xyz, class Index, class Simple, class Out>
CMAD_BOTH inline void full_histogram(const Xyz& xyz, std::int64_t n, std::int64_t first,
                                     const Index& neighbour, std::int64_t count, double radius,
                                     const Simple& simple, Out& out) {
  double sum[kFpfhChannels] = {};
  weigh(xyz, n, first, neighbour, count, radius, [&](std::int64_t, std::int64_t other, double w) {
    for (int c = 0; c < kFpfhChannels; ++c) sum[c] += w * double(simple[kFpfhChannels * other + c]);
  });
  add_own(sum, simple, n, out);
}

}  // namespace cmad
