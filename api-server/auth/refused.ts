/** Why a credential is not taken: for the log alone, as a caller who is told could find out what would be. */
export class Refused extends Error {
  override name = "Refused";
}
