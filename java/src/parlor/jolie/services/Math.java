package parlor.jolie.services;

import java.math.BigDecimal;
import java.math.RoundingMode;
import jolie.runtime.JavaService;
import jolie.runtime.Value;
import parlor.jolie.Run;

/** {@code Math}. Random numbers are the same for the same message, so that a run that is made again comes to the same. */
public final class Math extends JavaService {
  /** From 0 up to, and not including, 1. */
  public Double random() {
    Run run = Run.of(interpreter());
    return run == null ? 0.0 : run.random().nextDouble();
  }

  /** Without its sign. */
  public Integer abs(Integer number) {
    return java.lang.Math.abs(number);
  }

  /** To {@code .decimals} places, or to none. */
  public Double round(Value request) {
    int decimals = request.hasChildren("decimals") ? request.getFirstChild("decimals").intValue() : 0;
    return BigDecimal.valueOf(request.doubleValue()).setScale(decimals, RoundingMode.HALF_UP).doubleValue();
  }

  /** {@code .base} to the power of {@code .exponent}. */
  public Double pow(Value request) {
    return java.lang.Math.pow(
        request.getFirstChild("base").doubleValue(), request.getFirstChild("exponent").doubleValue());
  }
}
