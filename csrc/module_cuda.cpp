#include "bind/cuda_ops.h"

NB_MODULE(_cuda, m) {
  m.doc() = "cmad's ops on NVIDIA GPUs; called through cmad.ops only.";
  cmad::bind_cuda_ops(m);
}
