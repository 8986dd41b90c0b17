/** Nothing inline, nothing from elsewhere, no frames, no plug-ins, no forms; scripts cannot write HTML from text. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

/** Fields of every answer. What the page shows is the operator's alone. */
export const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex',
  'cache-control': 'no-store',
}

/** A field that a page of another origin cannot send without being asked by CORS, which is never allowed here. */
const OWN_FIELD = 'x-redwell'

/**
 * Why a request cannot come from the page itself; undefined where it can. Browsers say where a request comes from
 * (`Sec-Fetch-Site`, in secure contexts) or at least from which origin; programs that say neither carry no cookies of a
 * victim.
 */
export function crossSiteProblem(request: Request): string | undefined {
  const site = request.headers.get('sec-fetch-site')
  if (site !== null)
    return site === 'same-origin' || site === 'none' ? undefined : 'The request comes from another site.'
  const origin = request.headers.get('origin')
  if (origin === null) return undefined
  const isSame = URL.canParse(origin) && new URL(origin).host === request.headers.get('host')
  return isSame ? undefined : 'The request comes from another origin.'
}

/** Why a request may not change anything; undefined where it may. */
export function changeProblem(request: Request): string | undefined {
  if (request.headers.get('sec-fetch-site') === 'none') return 'A change cannot be opened as a page.'
  if (request.headers.get(OWN_FIELD) === null) return `The field ${OWN_FIELD} is missing.`
  const type = request.headers.get('content-type') ?? ''
  if (!/^application\/json\s*(;|$)/i.test(type)) return 'The content must be application/json.'
  return crossSiteProblem(request)
}
