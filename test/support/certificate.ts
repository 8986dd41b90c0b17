import { execFileSync } from 'node:child_process'

export interface Certificate {
  readonly key: string
  readonly cert: string
}

let made: Certificate | undefined

/** A certificate for 127.0.0.1 that nobody has signed. */
export function certificate(): Certificate {
  made ??= make()
  return made
}

function make(): Certificate {
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1']
  const pem = execFileSync('openssl', [...args, '-keyout', '-', '-out', '-'], { encoding: 'utf8', stdio: 'pipe' })
  const from = pem.indexOf('-----BEGIN CERTIFICATE')
  return { key: pem.slice(0, from), cert: pem.slice(from) }
}
