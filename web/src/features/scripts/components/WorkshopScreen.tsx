export default function WorkshopScreen(_: Record<string, unknown>) { return null; }
