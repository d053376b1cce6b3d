//! The HTTP edge: what maps a request to its pending or its temp token, for axum and tower.
