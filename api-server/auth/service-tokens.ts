/** Credentials of programs: "dst1.<name>.<secret>". Only the secret's hash is kept. */
import { timingSafeEqual } from "node:crypto";
import type { ServiceToken } from "../../gen/drover/v1/auth.ts";
import { secretDigest } from "../../lib/pki/join-token.ts";
import type { Caller } from "../objects.ts";
import { Refused } from "./refused.ts";

const PREFIX = "dst1.";
const FORM = /^dst1\.([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.([a-z0-9]{52})$/;

export const isServiceToken = (text: string): boolean => text.startsWith(PREFIX);
export const formatServiceToken = (name: string, secret: string): string => `${PREFIX}${name}.${secret}`;
export const digestOfSecret = (secret: string): Buffer => Buffer.from(secretDigest(secret), "hex");

/** Throws Refused. Its rights come with its record, by its name. */
export function serviceCaller(text: string, { find, now }: { find: (name: string) => ServiceToken | undefined; now: Date }): Caller {
  const [, name, secret] = FORM.exec(text) ?? [];
  if (name === undefined || secret === undefined) throw new Refused("it has not the form of a service token");
  const { spec, status } = find(name) ?? {};
  const digest = digestOfSecret(secret);
  if (!status || status.secretDigest.length !== digest.length || !timingSafeEqual(status.secretDigest, digest)) {
    throw new Refused(`there is no service token "${name}" with this secret`);
  }
  const expireTime = spec?.expireTime;
  if (expireTime === undefined || expireTime <= now) throw new Refused(`the service token "${name}" has expired`);
  return { subject: `token/${name}`, role: "user", expireTime };
}
