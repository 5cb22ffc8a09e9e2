/** Tokens (JWT) of one OIDC issuer, made into users. What was verified is remembered until it expires or the keys change. */
import { createHash } from "node:crypto";
import { errors, jwtVerify } from "jose";
import type { JWTPayload } from "jose";
import type { Clock } from "../../lib/clock.ts";
import type { Caller } from "../objects.ts";
import type { IssuerConfig } from "./config.ts";
import { IssuerKeys } from "./issuer-keys.ts";
import { Refused } from "./refused.ts";

/** Signatures with a public key only: a shared secret, or none, would let whoever knows the public key sign. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];
const CLOCK_TOLERANCE_S = 30;
const REMEMBERED_MAX = 1_000;
const GROUPS_MAX = 256;
const NAME = /^[!-~]{1,256}$/;

type Remembered = { caller: Caller & { expireTime: Date }; generation: number };

export class Issuer {
  readonly #config: IssuerConfig;
  readonly #keys: IssuerKeys;
  readonly #clock: Clock;
  readonly #remembered = new Map<string, Remembered>();

  constructor(config: IssuerConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    this.#keys = new IssuerKeys(config, clock);
  }

  get name(): string {
    return this.#config.issuer;
  }

  /** Throws Refused, jose's errors, or KeysUnavailable. */
  async callerOf(token: string): Promise<Caller> {
    const digest = createHash("sha256").update(token).digest("base64");
    // Old keys are renewed behind a remembered answer too, so that a key that is gone ends what it signed.
    await this.#keys.current();
    const known = this.#remembered.get(digest);
    if (known?.generation === this.#keys.generation && known.caller.expireTime > this.#clock.now()) return known.caller;
    this.#remembered.delete(digest);
    const payload = await this.#verified(token);
    const caller = callerIn(payload, this.#config);
    const oldest = this.#remembered.keys().next().value;
    if (this.#remembered.size >= REMEMBERED_MAX && oldest !== undefined) this.#remembered.delete(oldest);
    this.#remembered.set(digest, { caller, generation: this.#keys.generation });
    return caller;
  }

  async #verified(token: string): Promise<JWTPayload> {
    try {
      return await this.#verify(token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !(await this.#keys.renewed())) throw error;
      return this.#verify(token);
    }
  }

  async #verify(token: string): Promise<JWTPayload> {
    const { issuer, audience } = this.#config;
    const { payload } = await jwtVerify(token, await this.#keys.current(), {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      requiredClaims: ["exp"],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: this.#clock.now(),
    });
    return payload;
  }
}

/** The user that the claims name. */
export function callerIn(payload: JWTPayload, config: IssuerConfig): Caller & { expireTime: Date } {
  const { usernameClaim, groupsClaim, usernamePrefix, groupsPrefix } = config;
  const name = payload[usernameClaim];
  if (typeof name !== "string" || !NAME.test(usernamePrefix + name)) throw new Refused(`its claim "${usernameClaim}" is no user name`);
  if (usernameClaim === "email" && payload["email_verified"] === false) throw new Refused("its e-mail address is not verified");
  if (payload.nbf === undefined && payload.iat === undefined) throw new Refused("it does not say from when on it holds");
  const claimed = payload[groupsClaim] ?? [];
  const groups = (typeof claimed === "string" ? [claimed] : claimed) as unknown[];
  if (!Array.isArray(groups) || groups.length > GROUPS_MAX) throw new Refused(`its claim "${groupsClaim}" is no list of at most ${GROUPS_MAX} names`);
  const named = groups.filter((group): group is string => typeof group === "string" && NAME.test(groupsPrefix + group));
  return {
    subject: `user/${usernamePrefix}${name}`,
    role: "user",
    groups: named.map((group) => groupsPrefix + group),
    expireTime: new Date(payload.exp! * 1000),
  };
}
