#pragma once
#include "graph.h"
#include "session.h"

namespace secateur {

// Claims every piece of the graph that is expected to be faster here, and records what becomes of the others.
ort::Status* claim(const Reader& given, Session& session, const ort::Graph* graph, ort::Support* support);

}  // namespace secateur
