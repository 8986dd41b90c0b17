import type { WriteStream } from 'node:tty'
import type { CountryStats, Place } from './database.js'
import { ALL_PLACES, countryGroup } from './groups.js'
import {
  ADA,
  BEN,
  clearGroup,
  deletePlace,
  get,
  getFavourites,
  getPlace,
  getStats,
  head,
  OWN_PLACE,
  putFavourite,
  putPlace,
} from './tour/calls.js'
import { type Answer, Client } from './tour/client.js'
import { bypass, hit, miss, uncached } from './tour/expectation.js'
import { Guide } from './tour/guide.js'

export interface TourOptions {
  origin: string
  adminToken: string
  out: WriteStream
}

/** What the chapters share. */
interface Trip {
  guide: Guide
  adminToken: string
  /** A place of the data, which is only read. */
  star: Place
  /** A place of the tour's own, which is created, changed and deleted. No place of the data has its id. */
  own: Place
}

/** Walks through what the cache does. True where every answer was as expected. Leaves the data as they were. */
export async function runTour({ origin, adminToken, out }: TourOptions): Promise<boolean> {
  const client = new Client(origin)
  const guide = new Guide(client, out, adminToken)
  try {
    await prepare(client, adminToken)
    const star = await findStar(client)
    const own = { ...star, id: OWN_PLACE, name: 'Redwell on Tour', kind: 'PPL', population: 1000 }
    for (const chapter of CHAPTERS) await chapter({ guide, adminToken, star, own })
    guide.conclude()
    return guide.failed === 0
  } finally {
    await client.ask(deletePlace({ id: OWN_PLACE })).catch(() => {})
    client.close()
  }
}

const CHAPTERS = [search, onePlace, sums, writeThrough, personal, eviction, groupEviction, besides]

/** Earlier runs may have left entries in Redis, or have been stopped half way. */
async function prepare(client: Client, adminToken: string): Promise<void> {
  await client.ask(deletePlace({ id: OWN_PLACE }))
  const { status, text } = await client.ask(clearGroup(ALL_PLACES, adminToken))
  if (status !== 200) throw new Error(`The tour cannot clear the cache: ${status} ${text}`)
}

/** France's largest place, or else the world's. Asked for with no-store, so that it does not fill the cache. */
async function findStar(client: Client): Promise<Place> {
  for (const target of ['/places?country=FR&limit=1', '/places?limit=1']) {
    const { status, text } = await client.ask(get(target, { 'cache-control': 'no-store' }))
    if (status !== 200) throw new Error(`The tour cannot search: ${status} ${text}`)
    const [star] = (JSON.parse(text) as { places: Place[] }).places
    if (star !== undefined) return star
  }
  throw new Error('The tour needs a place, and the table is empty')
}

async function search({ guide, star }: Trip): Promise<void> {
  guide.section('Search: a list may be a minute old, and a write ends it at once')
  const q = encodeURIComponent(star.name.toLowerCase())
  const target = `/places?q=${q}&limit=3`
  const headers = { etag: /^(W\/)?".+"$/, 'cache-control': /max-age=\d+/ }
  const first = await guide.step('The handler runs, and its answer is kept.', get(target), miss({ headers }))
  const same = { sameAs: first }
  await guide.step('The same again comes from the cache, byte for byte.', get(target), hit(same))
  const other = `/places?limit=3&utm_source=tour&q=${q}`
  await guide.step('Order, and parameters that the route does not know, make no difference.', get(other), hit(same))
  const conditional = get(target, { 'if-none-match': etagOf(first) })
  const empty = { ...same, empty: true } as const
  await guide.step('Who has it already gets no body.', conditional, hit({ ...empty, status: 304 }))
  const length = { 'content-length': new RegExp(`^${Buffer.byteLength(first.text)}$`) }
  await guide.step('HEAD is answered from the entry of GET.', head(target), hit({ ...empty, headers: length }))
}

async function onePlace({ guide, star }: Trip): Promise<void> {
  guide.section('A place: what the client says about caching counts')
  const first = await guide.step('The handler runs.', getPlace(star), miss({ json: { ...star } }))
  const same = { sameAs: first }
  await guide.step('It does not run.', getPlace(star), hit(same))
  const anew = getPlace(star, { 'cache-control': 'no-cache' })
  await guide.step('The client wants it anew: the handler runs, the entry is replaced.', anew, miss(same))
  const secret = getPlace(star, { 'cache-control': 'no-store' })
  await guide.step('The client wants nothing kept: the cache is left out.', secret, bypass())
  await guide.step('For everybody else the entry is still there.', getPlace(star), hit(same))
}

async function sums({ guide, star }: Trip): Promise<void> {
  guide.section('Sums over all rows: kept for an hour, or until a write changes them')
  const headers = { 'cache-control': /max-age=3[56]\d\d\b/ }
  for (const call of [get('/countries'), getStats(star)]) {
    const first = await guide.step('The database adds up.', call, miss({ headers }))
    await guide.step('It has added up.', call, hit({ sameAs: first, headers }))
  }
}

async function writeThrough({ guide, star, own }: Trip): Promise<void> {
  guide.section('Write-through: what a PUT answers is what the next GET gets')
  const before = statsIn(await guide.step('The numbers before.', getStats(star), hit()))
  const created = miss({ status: 201, json: { ...own } })
  await guide.step('A new place. MISS says: the handler ran, and its answer was stored.', putPlace(own), created)
  const read = await guide.step('Never asked for before, and a HIT.', getPlace(own), hit({ json: { ...own } }))
  const after = { places: before.places + 1, population: before.population + own.population }
  await guide.step('Invalidated before the PUT was answered.', getStats(star), miss({ json: after }))
  await guide.step('Nothing about other places has changed.', getPlace(star), hit())
  const grown = { ...own, population: own.population + 1 }
  await guide.step('A change.', putPlace(grown), miss({ json: grown }))
  const conditional = getPlace(own, { 'if-none-match': etagOf(read) })
  await guide.step(
    'Who has the former gets the new one, from the cache.',
    conditional,
    hit({ unlike: read, json: grown }),
  )
}

async function personal({ guide, own }: Trip): Promise<void> {
  guide.section('Personal: everyone has an entry of their own, and a hit never skips the guard')
  const list = (user: string, ...places: Place[]) => ({
    headers: { 'cache-control': /\bprivate\b/ },
    json: { user, places },
  })
  await guide.step("Ada's list is made.", getFavourites(ADA), miss(list(ADA)))
  await guide.step('And kept, for Ada.', getFavourites(ADA), hit(list(ADA)))
  await guide.step('Ben never gets it: his own is made.', getFavourites(BEN), miss(list(BEN)))
  await guide.step('Without a token nobody gets anything.', get('/me/favourites'), uncached(401))
  await guide.step('Ada adds a place: her entry goes.', putFavourite(ADA, own), uncached(204))
  const grown = { ...own, population: own.population + 1 }
  await guide.step('She sees it.', getFavourites(ADA), miss(list(ADA, grown)))
  await guide.step('And it is kept.', getFavourites(ADA), hit(list(ADA, grown)))
  await guide.step("Ben's entry was not touched.", getFavourites(BEN), hit(list(BEN)))
  const renamed = { ...grown, name: 'Redwell Revisited' }
  await guide.step('The place gets another name.', putPlace(renamed), miss({ json: renamed }))
  await guide.step('Her list named the place, so it is made anew.', getFavourites(ADA), miss(list(ADA, renamed)))
}

async function eviction({ guide, star, own }: Trip): Promise<void> {
  guide.section('Eviction: what a DELETE ends is gone before the DELETE is answered')
  await guide.step('It is there.', getPlace(own), hit())
  const before = statsIn(await guide.step('The numbers before.', getStats(star), miss()))
  await guide.step('It goes, with its entry and the groups of its country.', deletePlace(own), uncached(204))
  const none = { status: 404, json: { statusCode: 404 } }
  await guide.step('"There is none" is an answer, too: kept for half a minute.', getPlace(own), miss(none))
  await guide.step('Kept.', getPlace(own), hit(none))
  await guide.step("Ada's list named it.", getFavourites(ADA), miss({ json: { user: ADA, places: [] } }))
  const after = { places: before.places - 1, population: before.population - own.population - 1 }
  await guide.step("The country's numbers counted it.", getStats(star), miss({ json: after }))
}

async function groupEviction({ guide, star, adminToken }: Trip): Promise<void> {
  guide.section('Group eviction: one call ends every entry of a group, however many there are')
  const done = uncached(200, { json: { confirmed: true } })
  await guide.step('Not for everybody.', clearGroup(ALL_PLACES, ADA), uncached(401))
  await guide.step('Nothing has happened.', getPlace(star), hit())
  await guide.step("One country's lists and sums.", clearGroup(countryGroup(star.country), adminToken), done)
  await guide.step('They are made anew.', getStats(star), miss())
  await guide.step('A place is not among them.', getPlace(star), hit())
  await guide.step('Everything that shows places.', clearGroup(ALL_PLACES, adminToken), done)
  await guide.step('The place.', getPlace(star), miss())
  await guide.step('The sums.', getStats(star), miss())
  await guide.step("Ben's list.", getFavourites(BEN), miss({ json: { user: BEN, places: [] } }))
}

async function besides({ guide }: Trip): Promise<void> {
  guide.section('Besides')
  await guide.step('What is not valid never reaches the cache.', get('/places?limit=1000'), uncached(400))
  await guide.step('A route without the cache.', get('/health'), uncached(200, { json: { status: 'ok' } }))
}

function statsIn({ text }: Answer): CountryStats {
  return JSON.parse(text) as CountryStats
}

function etagOf({ headers }: Answer): string {
  return headers['etag'] ?? '"none"'
}
