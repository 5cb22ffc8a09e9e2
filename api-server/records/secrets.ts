/**
 * Secrets in objects: digests made at the edge, values kept by updates that leave them out, hidden in every answer, closed
 * on the disk. Pure.
 */
import { createHash } from "node:crypto";
import type { SecretValue } from "../../gen/drover/v1/meta.ts";
import { masked } from "../../lib/secret.ts";
import { type Kind, keyOf, metaOf, type Resource, storeKey } from "../kinds/kind.ts";
import { DataLoss } from "../store/store.ts";
import { isSealed, type Vault } from "./vault.ts";

/** What readers get: the digest alone. */
export function hideSecrets<T extends Resource>(kind: Kind<T>, object: T): T {
  return kind.mapSecrets ? kind.mapSecrets(object, (secret) => (secret.value === "" ? secret : { ...secret, value: "" })) : object;
}

/** Every secret of an object by its place. */
export function secretsOf<T extends Resource>(kind: Kind<T>, object: T): Map<string, SecretValue> {
  const found = new Map<string, SecretValue>();
  kind.mapSecrets?.(object, (secret, place) => {
    found.set(place, secret);
    return secret;
  });
  return found;
}

/** Digests follow values; a secret that came without a value keeps what `before` holds in its place, or is empty. */
export function keepSecrets<T extends Resource>(kind: Kind<T>, object: T, before: Map<string, SecretValue>): T {
  if (!kind.mapSecrets) return object;
  return kind.mapSecrets(object, (secret, place) => {
    if (secret.value !== "") return { ...secret, digest: digestOf(secret.value) };
    return before.get(place) ?? { ...secret, digest: "" };
  });
}

export function digestOf(value: string): string {
  return `sha256:${createHash("sha256").update(value).digest("hex")}`;
}

/** As they are written. */
export function closeSecrets<T extends Resource>(kind: Kind<T>, object: T, vault: Vault): T {
  if (!kind.mapSecrets) return object;
  return kind.mapSecrets(object, (secret, place) =>
    secret.value === "" ? secret : { ...secret, value: vault.seal(secret.value, placeOf(kind, object, place)) });
}

/** As they are for those who may have them. */
export function openSecrets<T extends Resource>(kind: Kind<T>, object: T, vault: Vault | undefined): T {
  if (!kind.mapSecrets) return object;
  return kind.mapSecrets(object, (secret, place) => {
    if (vault) return masked({ ...secret, value: vault.open(secret.value, placeOf(kind, object, place)) });
    if (isSealed(secret.value)) throw new DataLoss(`Cannot read a secret of ${storeKey(kind, keyOf(object))}: the server has no keys`);
    return masked(secret);
  });
}

/** Begins with the key, for messages. */
function placeOf<T extends Resource>(kind: Kind<T>, object: T, place: string): string {
  return [storeKey(kind, keyOf(object)), metaOf(object).uid, place].join("\0");
}
