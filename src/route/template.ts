/**
 * Whether a path is one of a route's template, and its parameters: `:name`, `:name?`, `{name}`, and `*` for the rest.
 * Patterns of a parameter are not looked at.
 */
export function matchTemplate(template: string, path: string): Readonly<Record<string, string>> | undefined {
  const wanted = template.split('/')
  const given = path.split('/')
  const params: Record<string, string> = {}
  for (const [index, part] of wanted.entries()) {
    if (part.includes('*')) return { ...params, '*': given.slice(index).join('/') }
    const name = parameterOf(part)
    const segment = given[index]
    if (segment === undefined) return part.endsWith('?') ? params : undefined
    if (name === undefined ? segment !== part : segment === '') return undefined
    if (name !== undefined) params[name] = decode(segment)
  }
  return given.length > wanted.length ? undefined : params
}

function parameterOf(part: string): string | undefined {
  return /^(?::|\{)([A-Za-z0-9_]+)/.exec(part)?.[1]
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
