/** What any Standard Schema library (Zod, Valibot, ArkType and others; standardschema.dev) gives its schemas. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What may be stored under the schema. */
export type SchemaInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input']
/** What is read under the schema. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output']

const PLACES_SHOWN = 3

/** `at name, tags.0`: where the schema was not met. The libraries' messages stay out of it: some quote the value. */
export function describePlaces(issues: readonly SchemaIssue[]): string {
  const places = issues.map(({ path = [] }) => path.map((step) => String(typeof step === 'object' ? step.key : step)))
  const named = [...new Set(places.filter((steps) => steps.length > 0).map((steps) => steps.join('.')))]
  if (named.length === 0) return 'as a whole'
  const more = named.length - PLACES_SHOWN
  return `at ${named.slice(0, PLACES_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Why something given as a schema is none, or undefined. */
export function schemaProblem(schema: unknown): string | undefined {
  const kind = typeof schema
  const standard = (kind === 'object' || kind === 'function') && schema !== null && '~standard' in (schema as object)
  return standard ? undefined : 'schema: not a Standard Schema (Zod 3.24+, Valibot 1+, ArkType 2+ and others are)'
}
