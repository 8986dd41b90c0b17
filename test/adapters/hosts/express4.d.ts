/** The package `express` at its fourth version, which has no types of its own. */
declare module 'express4' {
  export { default } from 'express'
}
