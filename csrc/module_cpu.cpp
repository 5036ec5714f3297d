#include "bind/clusters.h"
#include "bind/components.h"
#include "bind/coreset.h"
#include "bind/count_between.h"
#include "bind/discrepancy.h"
#include "bind/fpfh.h"
#include "bind/fps.h"
#include "bind/group.h"
#include "bind/interpolate.h"
#include "bind/knn.h"
#include "bind/local_geometry.h"
#include "bind/mapping_discrepancy.h"
#include "bind/parallel.h"
#include "bind/pixel_weights.h"
#include "bind/plane.h"
#include "bind/smooth.h"
#include "bind/three_nn.h"

NB_MODULE(_cpu, m) {
  m.doc() = "cmad's ops on the CPU; called through cmad.ops only.";
  cmad::bind_fps<cmad::Cpu>(m);
  cmad::bind_group<cmad::Cpu>(m);
  cmad::bind_three_nn<cmad::Cpu>(m);
  cmad::bind_fpfh<cmad::Cpu>(m);
  cmad::bind_interpolate<cmad::Cpu>(m);
  cmad::bind_pixel_weights<cmad::Cpu>(m);
  cmad::bind_local_geometry<cmad::Cpu>(m);
  cmad::bind_plane<cmad::Cpu>(m);
  cmad::bind_clusters<cmad::Cpu>(m);
  cmad::bind_smooth<cmad::Cpu>(m);
  cmad::bind_discrepancy<cmad::Cpu>(m);
  cmad::bind_components<cmad::Cpu>(m);
  cmad::bind_count_between<cmad::Cpu>(m);
  cmad::bind_knn<cmad::Cpu>(m);
  cmad::bind_coreset<cmad::Cpu>(m);
  cmad::bind_mapping_discrepancy<cmad::Cpu>(m);
  cmad::bind_parallel_for(m);
}
