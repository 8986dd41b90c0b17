import { isIP } from 'node:net'

/** One customer of an IPv6 network usually has a whole /64, so single addresses would be no limit at all (RFC 6177). */
export const IPV6_SUBNET = 64

/** Some proxies add the port to the address that they forward: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
const WITH_PORT = /^(?:(\d+\.\d+\.\d+\.\d+):\d+|\[([^\]]+)\](?::\d+)?)$/

/** The identity of a client's address: IPv4 as it is, IPv6 by its subnet. Undefined where it is no address. */
export function addressIdentity(given: string | undefined, subnet: number = IPV6_SUBNET): string | undefined {
  if (given === undefined) return undefined
  if (isIP(given) === 4) return given
  const [, ipv4, ipv6] = WITH_PORT.exec(given) ?? []
  const address = ipv4 ?? ipv6 ?? given
  if (isIP(address) === 4) return address
  const plain = address.replace(/%.*$/, '')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1]
  if (mapped !== undefined && isIP(mapped) === 4) return mapped
  if (isIP(plain) !== 6) return undefined
  const groups = expand(plain).map((group, index) => group & maskOf(subnet - index * 16))
  return `${groups.map((group) => group.toString(16)).join(':')}/${subnet}`
}

/** The eight 16-bit groups of a valid IPv6 address. */
function expand(address: string): number[] {
  const [head = '', tail] = address.split('::')
  const front = groupsOf(head)
  const back = tail === undefined ? [] : groupsOf(tail)
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
}

function groupsOf(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  })
}

function maskOf(bits: number): number {
  if (bits >= 16) return 0xffff
  return bits <= 0 ? 0 : (0xffff << (16 - bits)) & 0xffff
}
