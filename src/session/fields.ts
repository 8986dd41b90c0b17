/** A field to set, or to add a line of. */
export interface FieldChange {
  readonly name: string
  readonly value: string
  readonly adds: boolean
}

/** What a session changes in a response. */
export interface SessionEffects {
  /** The line that is to be sent. */
  readonly setCookie: string | undefined
  /** Whether the response depends on the session. */
  readonly accessed: boolean
  /** Whether Redis could be asked about it. */
  readonly available: boolean
}

/**
 * Fields that a session adds to a response: the cookie, and that it depends on the client. `get`: the fields that are
 * set, by lower-case name.
 */
export function sessionFields(
  { setCookie, accessed, available }: SessionEffects,
  get: (name: string) => string | undefined,
): readonly FieldChange[] {
  if (!accessed && setCookie === undefined) return NONE
  const changes: FieldChange[] = []
  if (setCookie !== undefined) changes.push({ name: 'Set-Cookie', value: setCookie, adds: true })
  const vary = get('vary')
  if (vary === undefined || !/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(vary)) {
    changes.push({ name: 'Vary', value: vary === undefined || vary === '' ? 'Cookie' : `${vary}, Cookie`, adds: false })
  }
  const before = get('cache-control')
  const control = available ? privately(before) : 'no-store'
  if (control !== before) changes.push({ name: 'Cache-Control', value: control, adds: false })
  return changes
}

const NONE: readonly FieldChange[] = []

/** `Cache-Control` for one client, without the directives for shared caches. */
function privately(value: string | undefined): string {
  if (value === undefined || value.trim() === '') return 'private'
  const members = value.split(',').map((member) => member.trim())
  if (members.some((member) => /^(private|no-store)$/i.test(member))) return value
  const kept = members.filter((member) => !/^(public|s-maxage|proxy-revalidate|private)\b/i.test(member))
  return ['private', ...kept].join(', ')
}
