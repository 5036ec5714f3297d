#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "core/device.h"
#include "ops/clusters.h"
#include "ops/components.h"
#include "ops/count_between.h"
#include "ops/discrepancy.h"
#include "ops/fps.h"
#include "ops/group.h"
#include "ops/interpolate.h"
#include "ops/pixel_weights.h"
#include "ops/plane.h"
#include "ops/smooth.h"
#include "ops/three_nn.h"

namespace cmad {

namespace nb = nanobind;
using namespace nb::literals;

/// Where a device's arrays live, for nanobind.
template <class Device>
struct Memory;
template <>
struct Memory<Cpu> {
  using type = nb::device::cpu;
};

/// Contiguous arrays of one device; -1 is any size. Python has checked sizes and allocated outputs.
template <class T, class Device, int... Shape>
using In = nb::ndarray<const T, nb::shape<Shape...>, nb::c_contig, typename Memory<Device>::type>;
template <class T, class Device, int... Shape>
using Out = nb::ndarray<T, nb::shape<Shape...>, nb::c_contig, typename Memory<Device>::type>;

template <class Array>
std::int64_t size(const Array& array, int axis) {
  return std::int64_t(array.shape(axis));
}

inline void* stream_of(std::uintptr_t stream) { return reinterpret_cast<void*>(stream); }

template <class D, class T>
void bind_count_between(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "count_between",
      [](In<T, D, -1> score, In<bool, D, -1> skip, In<T, D, -1> level, Out<I, D, -1> count,
         Out<T, D, -1> lowest, Out<I, D, -1> ties, std::uintptr_t stream) {
        CountBetween<T> p{score.data(),  skip.data(), level.data(),   count.data(),
                          lowest.data(), ties.data(), size(score, 0), size(level, 0)};
        nb::gil_scoped_release nogil;
        count_between<D, T>(p, stream_of(stream));
      },
      "score"_a.noconvert(), "skip"_a.noconvert(), "level"_a.noconvert(), "count"_a.noconvert(),
      "lowest"_a.noconvert(), "ties"_a.noconvert(), "stream"_a);
}

/// Every binding, written once. Each is: unpack, release the GIL, call.
template <class D>
void bind_ops(nb::module_& m) {
  using I = std::int64_t;

  m.def(
      "fps",
      [](In<float, D, -1, -1, 3> xyz, Out<float, D, -1, -1> nearest, Out<I, D, -1, -1> index,
         bool published_ties, double skip, std::uintptr_t stream) {
        Fps p{xyz.data(),   nearest.data(), index.data(),   size(xyz, 0),
              size(xyz, 1), size(index, 1), published_ties, skip};
        nb::gil_scoped_release nogil;
        fps<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "nearest"_a.noconvert(), "index"_a.noconvert(), "published_ties"_a,
      "skip"_a, "stream"_a);

  m.def(
      "group",
      [](In<float, D, -1, -1, 3> xyz, In<float, D, -1, -1, 3> centre, Out<I, D, -1, -1, -1> index,
         std::uintptr_t stream) {
        Group p{xyz.data(),   centre.data(),   index.data(),  size(xyz, 0),
                size(xyz, 1), size(centre, 1), size(index, 2)};
        nb::gil_scoped_release nogil;
        group<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "centre"_a.noconvert(), "index"_a.noconvert(), "stream"_a);

  m.def(
      "three_nn",
      [](In<float, D, -1, -1, 3> xyz, In<float, D, -1, -1, 3> centre, Out<I, D, -1, -1, 3> index,
         Out<float, D, -1, -1, 3> weight, std::uintptr_t stream) {
        ThreeNn p{xyz.data(),   centre.data(), index.data(),   weight.data(),
                  size(xyz, 0), size(xyz, 1),  size(centre, 1)};
        nb::gil_scoped_release nogil;
        three_nn<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "centre"_a.noconvert(), "index"_a.noconvert(), "weight"_a.noconvert(),
      "stream"_a);

  m.def(
      "interpolate",
      [](In<float, D, -1, -1> feature, In<I, D, -1> start, In<std::int32_t, D, -1> index,
         In<float, D, -1> weight, Out<float, D, -1, -1> out, std::uintptr_t stream) {
        Interpolate p{feature.data(), start.data(), index.data(), weight.data(),
                      out.data(),     size(out, 0), size(out, 1)};
        nb::gil_scoped_release nogil;
        interpolate<D>(p, stream_of(stream));
      },
      "feature"_a.noconvert(), "start"_a.noconvert(), "index"_a.noconvert(), "weight"_a.noconvert(),
      "out"_a.noconvert(), "stream"_a);

  m.def(
      "pixel_weights",
      [](In<I, D, -1, -1> neighbour, In<float, D, -1, -1> neighbour_weight, In<I, D, -1, -1> point,
         In<I, D, -1> first, In<float, D, -1, -1> tap, In<I, D, -1> pixel, Out<I, D, -1> start,
         Out<std::int32_t, D, -1> index, Out<float, D, -1> weight, std::uintptr_t stream) {
        PixelWeights p{neighbour.data(), neighbour_weight.data(),
                       point.data(),     first.data(),
                       tap.data(),       pixel.data(),
                       start.data(),     index.data(),
                       weight.data(),    size(neighbour, 1),
                       size(point, 0),   size(tap, 1),
                       size(pixel, 0)};
        nb::gil_scoped_release nogil;
        pixel_weights<D>(p, stream_of(stream));
      },
      "neighbour"_a.noconvert(), "neighbour_weight"_a.noconvert(), "point"_a.noconvert(),
      "first"_a.noconvert(), "tap"_a.noconvert(), "pixel"_a.noconvert(), "start"_a.noconvert(),
      "index"_a.noconvert(), "weight"_a.noconvert(), "stream"_a);

  m.def(
      "plane",
      [](In<float, D, -1, 3> xyz, Out<double, D, 4> result, Out<I, D, 1> support, I samples,
         I tries, float threshold, std::uint64_t seed, std::uintptr_t stream) {
        Plane p{xyz.data(), result.data(), support.data(), size(xyz, 0),
                samples,    tries,         threshold,      seed};
        nb::gil_scoped_release nogil;
        plane<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "plane"_a.noconvert(), "support"_a.noconvert(), "samples"_a, "tries"_a,
      "threshold"_a, "seed"_a, "stream"_a);

  m.def(
      "clusters",
      [](In<float, D, -1, 3> xyz, Out<I, D, -1> label, I min_points, float eps,
         std::uintptr_t stream) {
        Clusters p{xyz.data(), label.data(), size(xyz, 0), min_points, eps};
        nb::gil_scoped_release nogil;
        clusters<D>(p, stream_of(stream));
      },
      "xyz"_a.noconvert(), "label"_a.noconvert(), "min_points"_a, "eps"_a, "stream"_a);

  m.def(
      "smooth",
      [](In<float, D, -1, -1, -1> map, In<float, D, -1> kernel, Out<float, D, -1, -1, -1> scratch,
         Out<float, D, -1, -1, -1> out, bool mirror, std::uintptr_t stream) {
        Smooth p{map.data(),   kernel.data(), scratch.data(),  out.data(), size(map, 0),
                 size(map, 1), size(map, 2),  size(kernel, 0), mirror};
        nb::gil_scoped_release nogil;
        smooth<D>(p, stream_of(stream));
      },
      "map"_a.noconvert(), "kernel"_a.noconvert(), "scratch"_a.noconvert(), "out"_a.noconvert(),
      "mirror"_a, "stream"_a);

  m.def(
      "discrepancy",
      [](In<float, D, -1, -1> a, In<float, D, -1, -1> b, Out<float, D, -1> euclidean,
         Out<float, D, -1> cosine, std::uintptr_t stream) {
        Discrepancy p{a.data(), b.data(), euclidean.data(), cosine.data(), size(a, 0), size(a, 1)};
        nb::gil_scoped_release nogil;
        discrepancy<D>(p, stream_of(stream));
      },
      "a"_a.noconvert(), "b"_a.noconvert(), "euclidean"_a.noconvert(), "cosine"_a.noconvert(),
      "stream"_a);

  m.def(
      "components",
      [](In<bool, D, -1, -1> mask, Out<I, D, -1> label, std::uintptr_t stream) {
        Components p{mask.data(), label.data(), size(mask, 0), size(mask, 1), size(label, 0)};
        nb::gil_scoped_release nogil;
        components<D>(p, stream_of(stream));
      },
      "mask"_a.noconvert(), "label"_a.noconvert(), "stream"_a);

  bind_count_between<D, float>(m);
  bind_count_between<D, double>(m);
}

}  // namespace cmad
