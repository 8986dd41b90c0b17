/**
 * A directive as it stands in Cache-Control: lower-case name, and its argument without quotes. The argument is
 * undefined where there is none and '' where it is ill-formed, which no directive takes for a valid one.
 */
export type OnDirective = (name: string, argument: string | undefined) => void

/**
 * Walks through Cache-Control (RFC 9111 section 5.2). Never throws; one pass, whatever the input. A quote that is never
 * closed is an ordinary character, so that it cannot hide a prohibition behind it.
 */
export function scanDirectives(value: string, on: OnDirective): void {
  let equals = -1
  let start = 0
  while (start < value.length) {
    const comma = endOf(value, ',', start)
    if (equals < start) equals = endOf(value, '=', start)
    if (equals >= comma) {
      emit(value.slice(start, comma), undefined, on)
      start = comma + 1
      continue
    }
    const close = value[equals + 1] === '"' ? closingQuote(value, equals + 2) : undefined
    const end = close === undefined || close === -1 ? comma : endOf(value, ',', close)
    emit(value.slice(start, equals), value.slice(equals + 1, end), on)
    start = end + 1
  }
}

function endOf(value: string, char: string, from: number): number {
  const index = value.indexOf(char, from)
  return index === -1 ? value.length : index
}

/** Index of the quote that ends a quoted-string, -1 where none does. */
function closingQuote(value: string, from: number): number {
  for (let index = from; index < value.length; index += 1) {
    const char = value[index]
    if (char === '"') return index
    if (char === '\\') index += 1
  }
  return -1
}

function emit(rawName: string, rawArgument: string | undefined, on: OnDirective): void {
  const name = rawName.trim().toLowerCase()
  if (name === '') return
  if (rawArgument === undefined) return on(name, undefined)
  // Space round the equals sign is not HTTP: `max-age= 10` counts as ill-formed, not as 10.
  const spaced = rawName.trimEnd() !== rawName || rawArgument.trimStart() !== rawArgument
  on(name, spaced ? '' : unquote(rawArgument.trimEnd()))
}

function unquote(argument: string): string {
  if (argument.charCodeAt(0) !== 0x22) return argument
  const close = closingQuote(argument, 1)
  if (close !== argument.length - 1) return ''
  const inner = argument.slice(1, -1)
  return inner.includes('\\') ? inner.replace(/\\(.)/g, '$1') : inner
}
