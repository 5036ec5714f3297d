#include "bind.h"
#include "bind/coreset.h"
#include "bind/knn.h"

NB_MODULE(_cpu, m) {
  m.doc() = "cmad's ops on the CPU; called through cmad.ops only.";
  cmad::bind_ops<cmad::Cpu>(m);
  cmad::bind_coreset<cmad::Cpu>(m);
  cmad::bind_knn<cmad::Cpu>(m);
}
