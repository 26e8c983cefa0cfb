export function mountWeather() {}
