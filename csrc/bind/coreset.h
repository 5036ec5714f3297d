#pragma once

#include "bind/bind.h"
#include "ops/coreset.h"

namespace cmad {

template <class D>
void bind_coreset(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "coreset",
      [](In<float, D, -1, -1> row, InOut<I, D, -1> index, InOut<float, D, -1> bound,
         InOut<std::int32_t, D, -1> seen, Out<I, D, -1> active, I begin, I end, I wanted,
         std::uintptr_t stream) {
        Coreset p{row.data(),    index.data(), bound.data(), seen.data(),
                  active.data(), size(row, 0), size(row, 1), size(index, 0),
                  begin,         end,          wanted};
        nb::gil_scoped_release nogil;
        coreset<D>(p, stream_of(stream));
      },
      "row"_a.noconvert(), "index"_a.noconvert(), "bound"_a.noconvert(), "seen"_a.noconvert(),
      "active"_a.noconvert(), "begin"_a, "end"_a, "wanted"_a, "stream"_a);
}

}  // namespace cmad
