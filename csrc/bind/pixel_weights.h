#pragma once

#include "bind/bind.h"
#include "ops/pixel_weights.h"

namespace cmad {

template <class D>
void bind_pixel_weights(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "pixel_weights_start",
      [](In<I, D, -1, -1> neighbour, In<float, D, -1, -1> neighbour_weight, In<I, D, -1, -1> point,
         In<I, D, -1> first, In<float, D, -1, -1> tap, In<I, D, -1> pixel, I centres,
         Out<I, D, -1> start, std::uintptr_t stream) {
        PixelWeights p{neighbour.data(),   neighbour_weight.data(),
                       point.data(),       first.data(),
                       tap.data(),         pixel.data(),
                       size(neighbour, 1), size(point, 0),
                       size(tap, 0),       size(tap, 1),
                       size(pixel, 0),     centres};
        nb::gil_scoped_release nogil;
        pixel_weights_start<D>(p, start.data(), stream_of(stream));
      },
      "neighbour"_a.noconvert(), "neighbour_weight"_a.noconvert(), "point"_a.noconvert(),
      "first"_a.noconvert(), "tap"_a.noconvert(), "pixel"_a.noconvert(), "centres"_a,
      "start"_a.noconvert(), "stream"_a);
  m.def(
      "pixel_weights",
      [](In<I, D, -1, -1> neighbour, In<float, D, -1, -1> neighbour_weight, In<I, D, -1, -1> point,
         In<I, D, -1> first, In<float, D, -1, -1> tap, In<I, D, -1> pixel, I centres,
         In<I, D, -1> start, Out<std::int32_t, D, -1> index, Out<float, D, -1> weight,
         std::uintptr_t stream) {
        PixelWeights p{neighbour.data(),   neighbour_weight.data(),
                       point.data(),       first.data(),
                       tap.data(),         pixel.data(),
                       size(neighbour, 1), size(point, 0),
                       size(tap, 0),       size(tap, 1),
                       size(pixel, 0),     centres};
        nb::gil_scoped_release nogil;
        pixel_weights<D>(p, start.data(), index.data(), weight.data(), stream_of(stream));
      },
      "neighbour"_a.noconvert(), "neighbour_weight"_a.noconvert(), "point"_a.noconvert(),
      "first"_a.noconvert(), "tap"_a.noconvert(), "pixel"_a.noconvert(), "centres"_a,
      "start"_a.noconvert(), "index"_a.noconvert(), "weight"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
