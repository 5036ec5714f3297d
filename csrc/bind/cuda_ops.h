#pragma once

#include "bind/clusters.h"
#include "bind/components.h"
#include "bind/coreset.h"
#include "bind/count_between.h"
#include "bind/cuda.h"
#include "bind/discrepancy.h"
#include "bind/fpfh.h"
#include "bind/fps.h"
#include "bind/group.h"
#include "bind/interpolate.h"
#include "bind/knn.h"
#include "bind/local_geometry.h"
#include "bind/mapping_discrepancy.h"
#include "bind/pixel_weights.h"
#include "bind/plane.h"
#include "bind/smooth.h"
#include "bind/three_nn.h"

namespace cmad {

/// The ops that have a kernel, of the GPU's module and of the emulated one.
inline void bind_cuda_ops(nb::module_& m) {
  bind_fps<Cuda>(m);
  bind_group<Cuda>(m);
  bind_three_nn<Cuda>(m);
  bind_fpfh<Cuda>(m);
  bind_interpolate<Cuda>(m);
  bind_pixel_weights<Cuda>(m);
  bind_local_geometry<Cuda>(m);
  bind_plane<Cuda>(m);
  bind_clusters<Cuda>(m);
  bind_smooth<Cuda>(m);
  bind_discrepancy<Cuda>(m);
  bind_components<Cuda>(m);
  bind_count_between<Cuda>(m);
  bind_coreset<Cuda>(m);
  bind_knn<Cuda>(m);
  bind_mapping_discrepancy<Cuda>(m);
}

}  // namespace cmad
