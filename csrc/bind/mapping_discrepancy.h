#pragma once

#include "bind/bind.h"
#include "ops/mapping_discrepancy.h"

namespace cmad {

template <class D>
void bind_mapping_discrepancy(nb::module_& m) {
  using I = std::int64_t;
  using Weights = In<std::uint8_t, D, -1>;
  m.def(
      "mapping_layout",
      [](int path, int precision) {
        const MappingLayout l = mapping_layout<D>(static_cast<MappingPath>(path),
                                                  static_cast<MappingPrecision>(precision));
        return nb::make_tuple(l.path, l.width, int(l.number));
      },
      "path"_a, "precision"_a);
  m.def(
      "mapping_discrepancy",
      [](In<I, D, -1> source_start, In<std::int32_t, D, -1> source_index,
         In<float, D, -1> source_weight, In<I, D, -1> target_start,
         In<std::int32_t, D, -1> target_index, In<float, D, -1> target_weight,
         In<float, D, -1, -1> hidden, In<float, D, -1> bias1, Weights middle,
         In<float, D, -1> bias2, Weights triangle, In<float, D, -1> column,
         In<float, D, -1, -1> matched, In<float, D, -1> shift, In<float, D, -1, -1> observed,
         Weights output, In<float, D, -1> bias3, float constant, float unit2, float unit_r,
         float unit3, bool round, int path, Out<std::uint8_t, D, -1> activations,
         Out<float, D, -1, -1> sums, Out<std::int32_t, D, -1> again, Out<float, D, -1, 2> lengths,
         Out<float, D, -1> psi, std::uintptr_t stream) {
        MappingDiscrepancy p{{source_start.data(), source_index.data(), source_weight.data()},
                             {target_start.data(), target_index.data(), target_weight.data()},
                             hidden.data(),
                             bias1.data(),
                             middle.data(),
                             bias2.data(),
                             triangle.data(),
                             column.data(),
                             matched.data(),
                             shift.data(),
                             observed.data(),
                             output.data(),
                             bias3.data(),
                             constant,
                             {unit2, unit_r, unit3},
                             size(psi, 0),
                             size(bias1, 0),
                             size(column, 0),
                             size(bias3, 0),
                             round,
                             path,
                             activations.data(),
                             sums.data(),
                             again.data(),
                             lengths.data(),
                             size(lengths, 0),
                             psi.data()};
        nb::gil_scoped_release nogil;
        mapping_discrepancy<D>(p, stream_of(stream));
      },
      "source_start"_a.noconvert(), "source_index"_a.noconvert(), "source_weight"_a.noconvert(),
      "target_start"_a.noconvert(), "target_index"_a.noconvert(), "target_weight"_a.noconvert(),
      "hidden"_a.noconvert(), "bias1"_a.noconvert(), "middle"_a.noconvert(), "bias2"_a.noconvert(),
      "triangle"_a.noconvert(), "column"_a.noconvert(), "matched"_a.noconvert(),
      "shift"_a.noconvert(), "observed"_a.noconvert(), "output"_a.noconvert(),
      "bias3"_a.noconvert(), "constant"_a, "unit2"_a, "unit_r"_a, "unit3"_a, "round"_a, "path"_a,
      "activations"_a.noconvert(), "sums"_a.noconvert(), "again"_a.noconvert(),
      "lengths"_a.noconvert(), "psi"_a.noconvert(), "stream"_a);
}

}  // namespace cmad
