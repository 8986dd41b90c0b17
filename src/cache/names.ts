/** What `encodePart` (src/cache/key.ts) has made of text, as text. */
export function decodePart(text: string): string {
  return text.replace(/!u([0-9A-F]{4})|!([0-9A-F]{2})/g, (_, unit: string | undefined, octet: string | undefined) =>
    String.fromCharCode(Number.parseInt(unit ?? octet ?? '', 16)),
  )
}

/** A group of an entry as an operator reads it. */
export interface GroupName {
  /**
   * - `group`: a name that routes and namespaces declare
   * - `namespace`: all values of a namespace
   * - `path`: all entries of one path
   * - `prefix`: everything under the prefix
   */
  readonly kind: 'group' | 'namespace' | 'path' | 'prefix'
  readonly name: string
}

/** `encoded`: as it stands in an entry, or in the name of its key in Redis after `<prefix>:group:`. */
export function groupName(encoded: string): GroupName {
  // On a cluster the group of everything has a copy for each range of slots, `{…}`.
  if (encoded === '' || /^\{\d+\}$/.test(encoded)) return { kind: 'prefix', name: '' }
  if (encoded.startsWith('=')) return { kind: 'path', name: decodePart(encoded.slice(1)) }
  if (encoded.startsWith('{')) return { kind: 'path', name: encoded.slice(1, -1) }
  if (!encoded.startsWith(':')) return { kind: 'group', name: decodePart(encoded) }
  return { kind: 'namespace', name: encoded.slice(1).split(':').map(decodePart).join(' ') }
}

/** `group products`, `namespace users`, `path /products/42`, `everything`: for lines of text. */
export function showGroup(encoded: string): string {
  const { kind, name } = groupName(encoded)
  return kind === 'prefix' ? 'everything' : `${kind} ${name}`
}
