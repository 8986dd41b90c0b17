/** Slots of a Redis Cluster. */
export const SLOTS = 16_384

/** CRC-16/XMODEM, the function of the Redis Cluster specification. */
const POLYNOMIAL = 0x1021

/** The slot of a key (latin1, without a hash tag). */
export function slotOf(key: string): number {
  let crc = 0
  for (let index = 0; index < key.length; index += 1) {
    crc ^= key.charCodeAt(index) << 8
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? POLYNOMIAL : 0)) & 0xffff
  }
  return crc % SLOTS
}
