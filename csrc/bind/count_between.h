#pragma once

#include "bind/bind.h"
#include "ops/count_between.h"

namespace cmad {

template <class D, class T>
void bind_count_between_of(nb::module_& m) {
  using I = std::int64_t;
  m.def(
      "count_between",
      [](In<T, D, -1> score, In<bool, D, -1> skip, In<T, D, -1> level, InOut<I, D, -1> count,
         InOut<I, D, -1> tied, std::uintptr_t stream) {
        CountBetween<T> p{score.data(), skip.data(),    level.data(),  count.data(),
                          tied.data(),  size(score, 0), size(level, 0)};
        nb::gil_scoped_release nogil;
        count_between<D, T>(p, stream_of(stream));
      },
      "score"_a.noconvert(), "skip"_a.noconvert(), "level"_a.noconvert(), "count"_a.noconvert(),
      "tied"_a.noconvert(), "stream"_a);
}

template <class D>
void bind_count_between(nb::module_& m) {
  bind_count_between_of<D, float>(m);
  bind_count_between_of<D, double>(m);
}

}  // namespace cmad
