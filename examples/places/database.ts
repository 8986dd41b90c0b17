export interface Place {
  id: number
  name: string
  /** ISO 3166 code of two letters. */
  country: string
  /** Code of the first administrative division. */
  region: string
  /** GeoNames feature code: PPLC is a capital, PPL any populated place. */
  kind: string
  population: number
  latitude: number
  longitude: number
}

export interface Filter {
  /** Part of the name; case and accents do not matter. */
  q?: string | undefined
  country?: string | undefined
}

export interface Page {
  limit: number
  offset: number
}

export interface CountryTotal {
  country: string
  places: number
  population: number
}

export interface CountryStats extends CountryTotal {
  /** Of the places whose population is known; null where that is none. */
  medianPopulation: number | null
  largest: { id: number; name: string; population: number }[]
  kinds: Record<string, number>
}

export interface Saved {
  place: Place
  /** Undefined where the place is new. */
  formerCountry: string | undefined
}

/** The line to Postgres. */
export interface Connection {
  query(sql: string, values?: readonly unknown[], options?: QueryOptions): Promise<{ rows: unknown[] }>
  /** Runs several statements. */
  exec(sql: string): Promise<unknown>
  close(): Promise<void>
}

export interface QueryOptions {
  /** What a COPY reads as /dev/blob. */
  blob?: Blob
}

/** How many of a country's places its statistics name. */
const LARGEST = 5

const COLUMNS = 'id, name, country, region, kind, population, latitude, longitude'

export const SCHEMA = `
  create extension if not exists pg_trgm;
  create table places (
    id int primary key,
    name text not null,
    folded text not null,
    country text not null,
    region text not null,
    kind text not null,
    population int not null,
    latitude float8 not null,
    longitude float8 not null
  );
  create table favourites (
    username text not null,
    place int not null references places on delete cascade,
    primary key (username, place)
  );
`

export const INDEXES = `
  create index places_by_size on places (population desc, id);
  create index places_by_country on places (country, population desc, id);
  create index places_by_name on places using gin (folded gin_trgm_ops);
  create index favourites_by_place on favourites (place);
  analyze places;
`

/** A name as it is searched for: lower case, without accents. */
export function fold(text: string): string {
  return text
    .normalize('NFD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase()
}

/** What the application asks of Postgres. Every value travels as a parameter, none as SQL. */
export class Database {
  readonly #connection: Connection
  readonly #release: () => Promise<void>

  /** `release` is called when the connection is closed. */
  constructor(connection: Connection, release: () => Promise<void> = async () => {}) {
    this.#connection = connection
    this.#release = release
  }

  /** The largest first. */
  search(filter: Filter, { limit, offset }: Page): Promise<Place[]> {
    const { where, values } = condition(filter)
    const at = values.length
    return this.#rows<Place>(
      `select ${COLUMNS} from places ${where} order by population desc, id limit $${at + 1} offset $${at + 2}`,
      [...values, limit, offset],
    )
  }

  async count(filter: Filter = {}): Promise<number> {
    const { where, values } = condition(filter)
    const [row] = await this.#rows<{ count: number }>(`select count(*)::int as count from places ${where}`, values)
    return row?.count ?? 0
  }

  async find(id: number): Promise<Place | undefined> {
    const [place] = await this.#rows<Place>(`select ${COLUMNS} from places where id = $1`, [id])
    return place
  }

  /** Creates the place or replaces it. */
  async save(place: Place): Promise<Saved> {
    const { id, name, country, region, kind, population, latitude, longitude } = place
    const [row] = await this.#rows<{ former: string | null }>(
      `insert into places (${COLUMNS}, folded) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
       on conflict (id) do update set (name, country, region, kind, population, latitude, longitude, folded)
         = (excluded.name, excluded.country, excluded.region, excluded.kind, excluded.population, excluded.latitude,
            excluded.longitude, excluded.folded)
       returning old.country as former`,
      [id, name, country, region, kind, population, latitude, longitude, fold(name)],
    )
    return { place, formerCountry: row?.former ?? undefined }
  }

  /** The place as it was; undefined where there was none. */
  async remove(id: number): Promise<Place | undefined> {
    const [place] = await this.#rows<Place>(`delete from places where id = $1 returning ${COLUMNS}`, [id])
    return place
  }

  countries(): Promise<CountryTotal[]> {
    return this.#rows<CountryTotal>(
      `select country, count(*)::int as places, sum(population)::float8 as population
       from places group by country order by population desc, country`,
    )
  }

  /** Undefined where no place is in the country. */
  async statistics(country: string): Promise<CountryStats | undefined> {
    const [total] = await this.#rows<Omit<CountryStats, 'largest' | 'kinds'>>(
      `select country, count(*)::int as places, sum(population)::float8 as population,
         percentile_cont(0.5) within group (order by population) filter (where population > 0) as "medianPopulation"
       from places where country = $1 group by country`,
      [country],
    )
    if (total === undefined) return undefined
    const largest = await this.search({ country }, { limit: LARGEST, offset: 0 })
    const kinds = await this.#rows<{ kind: string; places: number }>(
      'select kind, count(*)::int as places from places where country = $1 group by kind order by places desc, kind',
      [country],
    )
    return {
      ...total,
      largest: largest.map(({ id, name, population }) => ({ id, name, population })),
      kinds: Object.fromEntries(kinds.map(({ kind, places }) => [kind, places])),
    }
  }

  favourites(user: string): Promise<Place[]> {
    return this.#rows<Place>(
      `select ${COLUMNS} from favourites join places on places.id = place where username = $1 order by name, id`,
      [user],
    )
  }

  /** False where there is no such place. */
  async addFavourite(user: string, place: number): Promise<boolean> {
    const [row] = await this.#rows<{ id: number }>(
      `with known as (select id from places where id = $2),
         added as (insert into favourites select $1, id from known on conflict do nothing)
       select id from known`,
      [user, place],
    )
    return row !== undefined
  }

  async removeFavourite(user: string, place: number): Promise<void> {
    await this.#rows('delete from favourites where username = $1 and place = $2', [user, place])
  }

  async close(): Promise<void> {
    await this.#connection.close()
    await this.#release()
  }

  async #rows<Row>(sql: string, values: readonly (string | number)[] = []): Promise<Row[]> {
    const { rows } = await this.#connection.query(sql, values)
    return rows as Row[]
  }
}

function condition({ q = '', country }: Filter): { where: string; values: string[] } {
  const values: string[] = []
  const terms: string[] = []
  if (q !== '') terms.push(`folded like $${values.push(`%${literal(fold(q))}%`)}`)
  if (country !== undefined) terms.push(`country = $${values.push(country)}`)
  return { where: terms.length === 0 ? '' : `where ${terms.join(' and ')}`, values }
}

/** `%` and `_` in a search are characters, not wildcards. */
function literal(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&')
}
