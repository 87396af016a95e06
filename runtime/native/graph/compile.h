#pragma once
#include "piece.h"

namespace secateur {

// Reads the layers of a claimed piece and packs their weights. Null is success; the piece has its api and session.
ort::Status* compile_piece(const ort::Graph* graph, const ort::Node* fused, Piece* piece);

}  // namespace secateur
