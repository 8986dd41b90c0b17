/** One problem that a schema found. */
export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

const PLACES_SHOWN = 3

/** `at name, tags.0`: where a value violates the schema. The libraries' own messages are left out: some quote the value. */
export function describeIssues(issues: readonly SchemaIssue[]): string {
  const paths = issues.map(({ path = [] }) => path.map((step) => String(typeof step === 'object' ? step.key : step)))
  const places = [...new Set(paths.filter((steps) => steps.length > 0).map((steps) => steps.join('.')))]
  if (places.length === 0) return 'as a whole'
  const more = places.length - PLACES_SHOWN
  return `at ${places.slice(0, PLACES_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
