#pragma once

#include "bind/bind.h"
#include "ops/smooth.h"

namespace cmad {

template <class D>
void bind_smooth(nb::module_& m) {
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
}

}  // namespace cmad
