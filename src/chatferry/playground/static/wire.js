export function mountWire() {}
