import { eviction, fill, invalidation, join, type Program, read, set, type Topology, write } from './actors.js'
import type { Case } from './protocol.js'

/** One path with a plain entry and two variants; `g` is a group that all of them carry. */
export const PATH = '/a'
export const PATH_GROUP = '=/a'
export const PLAIN = { key: PATH, groups: ['g'] }
export const FIRST = { key: '/a|1', groups: ['g', PATH_GROUP] }
const SECOND = { key: '/a|2', groups: ['g', PATH_GROUP] }
/** An entry whose handler names the group. */
const NAMED = { key: PATH, groups: [], named: ['g'] }

export interface NamedCase {
  readonly title: string
  cast(topology: Topology): readonly Program[]
  readonly faults?: Case['faults']
}

/** The protocol as it is: each of these must hold. */
export const HOLDS: readonly NamedCase[] = [
  { title: 'two fills and an invalidation', cast: (on) => [fill(on, PLAIN), fill(on, PLAIN), invalidation(on, ['g'])] },
  { title: 'a fill, an invalidation, a reader', cast: (on) => [fill(on, PLAIN), invalidation(on, ['g']), read(PLAIN)] },
  {
    title: 'a fill and two invalidations, the group lost',
    cast: (on) => [fill(on, PLAIN), invalidation(on, ['g']), invalidation(on, ['g'])],
    faults: { 'g is lost': 1 },
  },
  {
    title: 'a fill whose handler names the group, an invalidation, the group lost',
    cast: (on) => [fill(on, NAMED), invalidation(on, ['g'])],
    faults: { 'g is lost': 1 },
  },
  {
    title: 'a fill and two invalidations, the clock lost while the time is behind',
    cast: (on) => [fill(on, PLAIN), invalidation(on, ['g']), invalidation(on, ['g'])],
    faults: { 'the clock is lost': 1 },
  },
  {
    title: 'a fill and an invalidation with deaths, lost replies and expired leases',
    cast: (on) => [fill(on, PLAIN), invalidation(on, ['g'])],
    faults: { 'an actor dies': 1, 'a reply is lost': 1, 'a lease expires': 1 },
  },
  {
    title: 'a fill of a variant and an eviction, the group of the path lost',
    cast: (on) => [fill(on, FIRST), eviction(on, PATH)],
    faults: { [`${PATH_GROUP} is lost`]: 1 },
  },
  {
    title: 'a fill of a variant, a soft and a hard eviction',
    cast: (on) => [fill(on, FIRST), eviction(on, PATH, 'soft'), eviction(on, PATH)],
  },
  {
    title: 'a plain fill and two soft evictions',
    cast: (on) => [fill(on, PLAIN), eviction(on, PATH, 'soft'), eviction(on, PATH, 'soft')],
  },
  {
    title: 'a fill, a soft and a hard invalidation',
    cast: (on) => [fill(on, PLAIN), invalidation(on, ['g'], 'soft'), invalidation(on, ['g'])],
  },
  {
    title: 'writes of two variants',
    cast: (on) => [write(on, { path: PATH, ...FIRST }), write(on, { path: PATH, ...SECOND })],
  },
  {
    title: 'a plain write and a fill',
    cast: (on) => [write(on, { path: PATH, ...PLAIN }), fill(on, PLAIN)],
  },
  {
    title: 'a write that evicts its own group, and an invalidation of it',
    cast: (on) => [write(on, { path: PATH, ...FIRST, evicts: ['g'] }), invalidation(on, ['g'])],
  },
  {
    title: 'a write that evicts its own group, and a soft invalidation of it',
    cast: (on) => [write(on, { path: PATH, ...FIRST, evicts: ['g'] }), invalidation(on, ['g'], 'soft')],
  },
  {
    title: 'a write and an eviction, the group of the path and a reply lost',
    cast: (on) => [write(on, { path: PATH, ...FIRST }), eviction(on, PATH)],
    faults: { [`${PATH_GROUP} is lost`]: 1, 'a reply is lost': 1 },
  },
  {
    title: 'a plain write and one of a variant, the group of the path lost',
    cast: (on) => [write(on, { path: PATH, ...PLAIN }), write(on, { path: PATH, ...FIRST })],
    faults: { [`${PATH_GROUP} is lost`]: 1 },
  },
  {
    title: 'writes of two variants, the clock lost while the time is behind',
    cast: (on) => [write(on, { path: PATH, ...FIRST }), write(on, { path: PATH, ...SECOND })],
    faults: { 'the clock is lost': 1 },
  },
  {
    title: 'a plain write and a soft eviction of its path',
    cast: (on) => [write(on, { path: PATH, ...PLAIN }), eviction(on, PATH, 'soft')],
  },
  {
    title: 'a fill, a request that joins it, an invalidation, the group lost',
    cast: (on) => [fill(on, PLAIN), join(0, PLAIN), invalidation(on, ['g'])],
    faults: { 'g is lost': 1 },
  },
  {
    title: 'a set and two fills',
    cast: (on) => [set(on, PATH, ['g']), fill(on, PLAIN), fill(on, PLAIN)],
  },
  {
    title: 'a fill, one whose response may not be stored, an invalidation',
    cast: (on) => [fill(on, PLAIN), fill(on, { ...PLAIN, refuses: true }), invalidation(on, ['g'])],
  },
]

/** Larger casts: minutes, in the long run only. */
export const LONG: readonly NamedCase[] = [
  {
    title: 'fills of a plain entry and a variant, an eviction of the path',
    cast: (on) => [fill(on, PLAIN), fill(on, FIRST), eviction(on, PATH)],
  },
  {
    title: 'two fills and two invalidations',
    cast: (on) => [fill(on, PLAIN), fill(on, PLAIN), invalidation(on, ['g']), invalidation(on, ['g'])],
  },
  {
    title: 'two fills and an invalidation with deaths, lost replies, expired leases and the group lost',
    cast: (on) => [fill(on, PLAIN), fill(on, NAMED), invalidation(on, ['g'])],
    faults: { 'an actor dies': 1, 'a reply is lost': 1, 'a lease expires': 1, 'g is lost': 1 },
  },
  {
    title: 'fills of two variants, two evictions, the group of the path lost',
    cast: (on) => [fill(on, FIRST), fill(on, SECOND), eviction(on, PATH), eviction(on, PATH, 'soft')],
    faults: { [`${PATH_GROUP} is lost`]: 1 },
  },
  {
    title: 'two writes and a fill',
    cast: (on) => [write(on, { path: PATH, ...PLAIN }), write(on, { path: PATH, ...FIRST }), fill(on, SECOND)],
  },
  {
    title: 'two writes, one that evicts its group, and an eviction',
    cast: (on) => [
      write(on, { path: PATH, ...FIRST, evicts: ['g'] }),
      write(on, { path: PATH, ...SECOND }),
      eviction(on, PATH),
    ],
  },
  {
    title: 'a write that evicts its own group, an invalidation, a fill, the group lost',
    cast: (on) => [write(on, { path: PATH, ...FIRST, evicts: ['g'] }), invalidation(on, ['g']), fill(on, SECOND)],
    faults: { 'g is lost': 1 },
  },
  {
    title: 'a fill, two requests that join it, an invalidation, the group and the clock lost',
    cast: (on) => [fill(on, PLAIN), join(0, PLAIN), join(0, PLAIN), invalidation(on, ['g'])],
    faults: { 'g is lost': 1, 'the clock is lost': 1 },
  },
  {
    title: 'two fills, an invalidation and a reader, the group lost',
    cast: (on) => [fill(on, PLAIN), fill(on, FIRST), invalidation(on, ['g']), read(FIRST)],
    faults: { 'g is lost': 1 },
  },
]

/** Protocols that lack one of the rules: each of these must fail. */
export const FAILS: readonly NamedCase[] = [
  {
    title: 'a stamp that is read when storing',
    cast: (on) => [fill(on, { ...PLAIN, without: 'stamp before the handler' }), invalidation(on, ['g'])],
  },
  {
    title: 'delete, then set',
    cast: (on) => [fill(on, { ...PLAIN, without: 'lease' }), eviction(on, PATH, 'hard', 'fence')],
  },
  {
    title: 'an eviction that removes the entry only',
    cast: (on) => [fill(on, FIRST), eviction(on, PATH, 'hard', 'fence')],
  },
  {
    title: 'a publication without its token',
    cast: (on) => [fill(on, { ...PLAIN, without: 'token' }), eviction(on, PATH)],
  },
  {
    title: 'a write that does not invalidate its path (F5a)',
    cast: (on) => [write(on, { path: PATH, ...FIRST, without: 'bump of the path' }), fill(on, SECOND)],
  },
  {
    title: 'a write with one stamp, taken at its end (F5b)',
    cast: (on) => [write(on, { path: PATH, ...FIRST, without: 'two stamps' }), invalidation(on, ['g'])],
  },
  {
    title: 'a write that ignores what its own bump replaced (F5c)',
    cast: (on) => [
      write(on, { path: PATH, ...FIRST, without: 'taint' }),
      write(on, { path: PATH, ...SECOND, without: 'taint' }),
    ],
  },
  {
    title: 'a write that leaves the lease of its key (F5d)',
    cast: (on) => [write(on, { path: PATH, ...PLAIN, without: 'end of the lease' }), fill(on, PLAIN)],
  },
  {
    title: 'a request that takes the answer of any run that it joins (F8)',
    cast: (on) => [fill(on, PLAIN), join(0, { ...PLAIN, without: 'clock' }), invalidation(on, ['g'])],
  },
]
