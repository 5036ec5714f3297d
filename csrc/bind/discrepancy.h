#pragma once

#include "bind/bind.h"
#include "ops/discrepancy.h"

namespace cmad {

template <class D>
void bind_discrepancy(nb::module_& m) {
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
}

}  // namespace cmad
