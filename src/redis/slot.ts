/** Slots of a cluster, and the polynomial of its CRC16 (XMODEM), as the Redis Cluster specification has them. */
export const SLOTS = 16_384

const POLYNOMIAL = 0x1021

const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit += 1) crc = (crc << 1) ^ ((crc & 0x8000) === 0 ? 0 : POLYNOMIAL)
  return crc & 0xffff
})

/** The slot of a key: of what stands between its first `{` and the next `}`, where that is not empty. */
export function slotOf(key: string): number {
  let crc = 0
  for (const byte of Buffer.from(hashed(key))) crc = ((crc << 8) & 0xffff) ^ (CRC16[(crc >> 8) ^ byte] as number)
  return crc % SLOTS
}

function hashed(key: string): string {
  const open = key.indexOf('{')
  if (open === -1) return key
  const close = key.indexOf('}', open + 1)
  return close <= open + 1 ? key : key.slice(open + 1, close)
}
