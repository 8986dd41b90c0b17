import { readFileSync } from 'node:fs'
import { Secret } from './secret.js'
import type { Pem, ResolvedTls, TlsOptions } from './settings.js'

/** Reads the files now, so that a wrong path is an error of the settings and not of the first connection. */
export function resolveTls(options: TlsOptions, problems: string[]): ResolvedTls {
  const key = readPem('tls.key (REDIS_SSL_KEYFILE)', options.key, problems)
  if ((options.key === undefined) !== (options.cert === undefined)) {
    problems.push('tls: a client certificate needs both cert (REDIS_SSL_CERTFILE) and key (REDIS_SSL_KEYFILE)')
  }
  return {
    cert: readPem('tls.cert (REDIS_SSL_CERTFILE)', options.cert, problems),
    key: key === undefined ? undefined : new Secret(key.toString()),
    ca: readPem('tls.ca (REDIS_SSL_CA_CERTS)', options.ca, problems),
    checkHostname: options.checkHostname ?? true,
  }
}

/** PEM text or bytes as they are; any other text is the path of a file. */
function readPem(name: string, pem: Pem | undefined, problems: string[]): Pem | undefined {
  if (typeof pem !== 'string' || pem.includes('-----BEGIN')) return pem
  try {
    return readFileSync(pem)
  } catch (error) {
    problems.push(
      `${name}: the file '${pem}' cannot be read (${(error as NodeJS.ErrnoException).code ?? 'no file name'})`,
    )
    return undefined
  }
}
