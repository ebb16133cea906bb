/** Addresses: a unit is `layer:7`, an image its id. Lists of them stand in the URL. */

/** Return {layer, unit} of the address of a unit, or null when it names an image. */
export function unitOf(address) {
  const [, layer, unit] = /^(.+):(\d+)$/s.exec(address) ?? [];
  return layer === undefined ? null : { layer, unit: Number(unit) };
}

/** Names may hold any character, so those that separate are escaped. */
export function joinAddresses(addresses) {
  return addresses.map((address) => address.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

/** What `joinAddresses` was given, without repetitions. */
export function splitAddresses(text) {
  const parts = (text ?? "").split(",").filter(Boolean);
  return [...new Set(parts.map((part) => part.replaceAll("%2C", ",").replaceAll("%25", "%")))];
}
