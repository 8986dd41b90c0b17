/**
 * Facts about a stored response that a hit needs without parsing its fields again. Part of the stored format: bits are
 * never given another meaning. At most 16.
 */
export const Flag = {
  /** The route's lifetime counts (R); otherwise the handler's (H). */
  routeGoverned: 1,
  /** A hit sends the stored Date and an Age; otherwise neither, and a generated Cache-Control counts down. */
  age: 2,
  /** must-revalidate, proxy-revalidate or s-maxage: never served stale (RFC 9111 section 4.2.4). */
  noStale: 4,
  /** no-cache: used only after validation (RFC 9111 section 5.2.2.4). */
  validate: 8,
  /** The ETag is ours, made from the body; the handler does not know it. */
  generatedEtag: 16,
  /** May answer requests with Authorization (RFC 9111 section 3.5). */
  sharedAuth: 32,
  /** RFC 8246. */
  immutable: 64,
  /** The handler wrote a Cache-Control of its own: it is replayed, none is generated. */
  ownCacheControl: 128,
  /** The handler made an ETag or a Last-Modified. */
  validators: 256,
  /** A 206: one range of the representation. */
  partial: 512,
  /** `errorUntil` is how long it is retained; the window of stale-if-error ends before (see `errorWindowEnd`). */
  retained: 1024,
  /** Belongs to one principal: the generated Cache-Control says `private`. */
  personal: 2048,
  /** With `retained`: there is no window of stale-if-error at all. */
  noErrorWindow: 4096,
} as const

export function hasFlag(flags: number, flag: number): boolean {
  return (flags & flag) !== 0
}
