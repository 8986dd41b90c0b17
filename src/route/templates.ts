/** A parameter of a template: `:name`, with a pattern in `()` or `{}`, or `{name}`; `?` makes it optional. */
const PARAMETER = /:([A-Za-z0-9_]+)(?:\(([^)]*)\)|\{([^}]*)\})?\??|\{([A-Za-z0-9_]+)\}/g

/** The template in the name of a route, which is its method and template. */
export function templateOf(route: string): string {
  return route.slice(route.indexOf(' ') + 1)
}

/** The parameters of a path that a route's template matches; `*` is the rest of the path. Undefined: it does not match. */
export function matchTemplate(template: string, path: string): Readonly<Record<string, string>> | undefined {
  const wanted = template.split('/')
  const given = path.split('/')
  const params: Record<string, string> = {}
  for (const [index, part] of wanted.entries()) {
    if (part.includes('*')) return { ...params, '*': given.slice(index).join('/') }
    const segment = given[index]
    if (segment === undefined) return part.endsWith('?') ? params : undefined
    const found = matchSegment(part, segment)
    if (found === undefined) return undefined
    Object.assign(params, found)
  }
  return given.length > wanted.length ? undefined : params
}

function matchSegment(part: string, segment: string): Readonly<Record<string, string>> | undefined {
  const names: string[] = []
  let [source, end] = ['', 0]
  for (const found of part.matchAll(PARAMETER)) {
    const [whole, colon, inParentheses, inBraces, braces] = found
    names.push(colon ?? braces ?? '')
    source += `${escaped(part.slice(end, found.index))}(${inParentheses ?? inBraces ?? '.+?'})`
    end = found.index + whole.length
  }
  if (names.length === 0) return part === segment ? {} : undefined
  const values = new RegExp(`^${source}${escaped(part.slice(end))}$`).exec(segment)
  return values === null
    ? undefined
    : Object.fromEntries(names.map((name, at) => [name, decodeSegment(values[at + 1] ?? '')]))
}

function escaped(text: string): string {
  return text.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`)
}

/** A segment as it was meant, or as it is where it is damaged. */
export function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** How routers compare templates of which several match: fixed segments, parameters with more around them, others, the rest. */
export function compareTemplates(one: string, other: string): number {
  const [a, b] = [one.split('/').map(rankOf), other.split('/').map(rankOf)]
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function rankOf(part: string): number {
  if (part.includes('*')) return 3
  if (part.search(PARAMETER) === -1) return 0
  return /^:[A-Za-z0-9_]+\??$/.test(part) ? 2 : 1
}
