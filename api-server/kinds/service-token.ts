/** What is known of a program's credential. Only the server writes it: the service that makes tokens takes no object from callers. */
import { ServiceToken } from "../../gen/drover/v1/auth.ts";
import { type Kind, metaOf } from "./kind.ts";
import { dnsLabel, validateMeta } from "./names.ts";
import { unchangedSpec } from "./unchanged.ts";

export const serviceTokens: Kind<ServiceToken> = {
  name: "ServiceToken",
  plural: "servicetokens",
  field: "service_token",
  typeName: "drover.v1.ServiceToken",
  namespaced: false,
  codec: ServiceToken,
  defaults: (token) => token,
  withoutStatus: (token) => token,
  validate: (token) => [
    ...validateMeta(metaOf(token), serviceTokens),
    ...(token.spec?.namespaces ?? []).flatMap((namespace, i) => dnsLabel(`spec.namespaces[${i}]`, namespace)),
  ],
  validateChange: unchangedSpec,
};
