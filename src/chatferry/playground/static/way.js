export function mountWay() {}
