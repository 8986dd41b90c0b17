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

const ISSUES_SHOWN = 3

/** `name: too short; tags[0]: not a text`. Paths and rules, never the value. */
export function describeIssues(issues: readonly SchemaIssue[]): string {
  const shown = issues.slice(0, ISSUES_SHOWN).map(({ message, path = [] }) => {
    const steps = path.map((step) => String(typeof step === 'object' ? step.key : step))
    return steps.length === 0 ? message : `${steps.join('.')}: ${message}`
  })
  const more = issues.length - shown.length
  return `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`
}

/** Why something given as a schema is none, or undefined. */
export function schemaProblem(schema: unknown): string | undefined {
  const kind = typeof schema
  const standard = (kind === 'object' || kind === 'function') && schema !== null && '~standard' in (schema as object)
  return standard ? undefined : 'schema: not a Standard Schema (Zod 3.24+, Valibot 1+, ArkType 2+ and others are)'
}
