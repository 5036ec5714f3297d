#pragma once

#include "bind/bind.h"
#include "ops/knn.h"

namespace cmad {

/// Rows come as bytes with the kind of their numbers: NumPy's arrays have no bfloat16.
template <class D>
void bind_knn(nb::module_& m) {
  using I = std::int64_t;
  using B = std::uint8_t;

  m.def(
      "knn_encode",
      [](In<B, D, -1, -1> row, int number, In<float, D, -1> centre, In<float, D, -1, -1> basis, I P,
         float scale, Out<B, D, -1, -1> code, Out<float, D, -1, 4, 64> bound,
         std::uintptr_t stream) {
        const Embedding into{centre.data(), size(basis, 0) > 0 ? basis.data() : nullptr,
                             size(centre, 0), P, scale};
        KnnEncode p{row.data(), Number(number), into, code.data(), bound.data(), size(row, 0)};
        nb::gil_scoped_release nogil;
        knn_encode<D>(p, stream_of(stream));
      },
      "row"_a.noconvert(), "number"_a, "centre"_a.noconvert(), "basis"_a.noconvert(), "P"_a,
      "scale"_a, "code"_a.noconvert(), "bound"_a.noconvert(), "stream"_a);

  m.def(
      "knn",
      [](In<float, D, -1, -1> query, In<B, D, -1, -1> row, int number, In<float, D, -1> centre,
         In<float, D, -1, -1> basis, I P, float scale, In<B, D, -1, -1> code,
         In<float, D, -1, 4, 64> bound, InOut<double, D, -1, -1> distance,
         InOut<I, D, -1, -1> index, Out<bool, D, -1> given_up,
         Out<double, D, -1, -1, 32> part_distance, Out<I, D, -1, -1, 32> part_index,
         Out<B, D, -1, -1> query_code, Out<double, D, -1, 5> query_number, I first, int path,
         I query_block, I row_block, std::uintptr_t stream) {
        const Embedding into{centre.data(), size(basis, 0) > 0 ? basis.data() : nullptr,
                             size(query, 1), P, scale};
        Knn p{query.data(),
              row.data(),
              Number(number),
              into,
              size(code, 0) > 0 ? code.data() : nullptr,
              bound.data(),
              distance.data(),
              index.data(),
              given_up.data(),
              part_distance.data(),
              part_index.data(),
              query_code.data(),
              query_number.data(),
              size(query, 0),
              size(row, 0),
              size(index, 1),
              size(part_index, 1),
              first,
              Int8Path(path),
              query_block,
              row_block};
        nb::gil_scoped_release nogil;
        knn<D>(p, stream_of(stream));
      },
      "query"_a.noconvert(), "row"_a.noconvert(), "number"_a, "centre"_a.noconvert(),
      "basis"_a.noconvert(), "P"_a, "scale"_a, "code"_a.noconvert(), "bound"_a.noconvert(),
      "distance"_a.noconvert(), "index"_a.noconvert(), "given_up"_a.noconvert(),
      "part_distance"_a.noconvert(), "part_index"_a.noconvert(), "query_code"_a.noconvert(),
      "query_number"_a.noconvert(), "first"_a, "path"_a, "query_block"_a, "row_block"_a,
      "stream"_a);

  m.def("knn_parts", knn_parts<D>, "Q"_a, "M"_a, "K"_a, "coded"_a);
  m.def("knn_has_path", [](int path) { return int8_tile(Int8Path(path)) != nullptr; }, "path"_a);
}

}  // namespace cmad
