/** `presets` of the fleet document: sets of image parameters that have a name. */
import { type Static, Type } from "typebox";
import { oneWordOf, strict } from "#base/schema-terms.ts";

/** The parameters of an image URL that a preset may set: the grammar itself is in node/variant. */
export const preset = Type.Object(
  {
    w: Type.Optional(Type.Integer({ minimum: 1, maximum: 8192, unit: "px", description: "width of the box" })),
    h: Type.Optional(Type.Integer({ minimum: 1, maximum: 8192, unit: "px", description: "height of the box" })),
    fit: Type.Optional(
      oneWordOf(["clip", "crop", "fill", "max", "min", "scale"], "how to fit the picture into the box"),
    ),
    q: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: "quality, on the scale of JPEG" })),
    fm: Type.Optional(oneWordOf(["jpg", "png", "webp", "avif"], "output format")),
    auto: Type.Optional(oneWordOf(["format"], "choose the output format by the Accept field")),
    dpr: Type.Optional(Type.Number({ minimum: 0.1, maximum: 5, description: "factor for w and h" })),
    bg: Type.Optional(Type.String({ pattern: "^[0-9A-Fa-f]{3,8}$", description: "background colour, hexadecimal" })),
  },
  strict,
);
export type Preset = Static<typeof preset>;
