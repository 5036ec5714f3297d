#pragma once

#include <cmath>

#include "core/device.h"

// How both devices fit a plane to sums over points, in the same order of operations.

namespace cmad {

struct Fit {
  double n[3] = {0, 0, 0};
  double d = 0;
  bool ok = false;
};

/// Turns axes p and q so that a[p][q] vanishes.
template <int p, int q>
CMAD_BOTH void rotate(double (&a)[3][3], double (&v)[3][3]) {
  if (a[p][q] == 0) return;
  const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
  const double c = 1 / std::sqrt(t * t + 1), s = t * c;
  for (int k = 0; k < 3; ++k) {
    const double x = a[k][p], y = a[k][q];
    a[k][p] = c * x - s * y;
    a[k][q] = s * x + c * y;
  }
  for (int k = 0; k < 3; ++k) {
    const double x = a[p][k], y = a[q][k];
    a[p][k] = c * x - s * y;
    a[q][k] = s * x + c * y;
  }
  for (int k = 0; k < 3; ++k) {
    const double x = v[k][p], y = v[k][q];
    v[k][p] = c * x - s * y;
    v[k][q] = s * x + c * y;
  }
}

/// Eigenvalues (on the diagonal of `a`) and eigenvectors (columns of `v`) by cyclic Jacobi
/// rotations.
CMAD_BOTH inline void eigen3(double (&a)[3][3], double (&v)[3][3]) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) v[i][j] = i == j;
  for (int sweep = 0; sweep < 30; ++sweep) {
    const double off = std::abs(a[0][1]) + std::abs(a[0][2]) + std::abs(a[1][2]);
    const double diagonal = std::abs(a[0][0]) + std::abs(a[1][1]) + std::abs(a[2][2]);
    if (off <= 1e-18 * diagonal) return;
    rotate<0, 1>(a, v);
    rotate<0, 2>(a, v);
    rotate<1, 2>(a, v);
  }
}

/// Puts the smaller of two eigenvalues first, with its vector.
template <int i, int j>
CMAD_BOTH void order(double (&value)[3], double (&v)[3][3]) {
  if (!(value[j] < value[i])) return;
  const double larger = value[i];
  value[i] = value[j];
  value[j] = larger;
  for (int k = 0; k < 3; ++k) {
    const double x = v[k][i];
    v[k][i] = v[k][j];
    v[k][j] = x;
  }
}

/// Orthogonal least-squares plane through points with this mean; `a` is the sum of the outer
/// products of their differences from it, and is overwritten.
CMAD_BOTH inline Fit plane_through(const double (&mean)[3], double (&a)[3][3]) {
  double v[3][3];
  eigen3(a, v);
  double spread[3] = {a[0][0], a[1][1], a[2][2]};
  order<0, 1>(spread, v);
  order<1, 2>(spread, v);
  order<0, 1>(spread, v);
  Fit f;
  // On a line (or one spot) the two smaller spreads vanish and the normal is arbitrary.
  f.ok = spread[1] > 1e-10 * spread[2];
  for (int k = 0; k < 3; ++k) f.n[k] = v[k][0];
  f.d = -(f.n[0] * mean[0] + f.n[1] * mean[1] + f.n[2] * mean[2]);
  const double sign = f.d != 0 ? f.d : f.n[0] != 0 ? f.n[0] : f.n[1] != 0 ? f.n[1] : f.n[2];
  if (sign < 0) {
    for (double& x : f.n) x = -x;
    f.d = -f.d;
  }
  return f;
}

}  // namespace cmad
