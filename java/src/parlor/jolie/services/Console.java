package parlor.jolie.services;

import jolie.runtime.JavaService;
import jolie.runtime.Value;
import jolie.runtime.embedding.RequestResponse;
import parlor.jolie.Run;

/** {@code Console}: prints into the run's output. There is nobody at the other end to type anything. */
public final class Console extends JavaService {
  /** Prints. */
  @RequestResponse
  public void print(Value text) {
    write(text.strValue());
  }

  /** Prints, and ends the line. */
  @RequestResponse
  public void println(Value text) {
    write(text.strValue() + "\n");
  }

  private void write(String text) {
    Run run = Run.of(interpreter());
    if (run != null) {
      run.output().print(text);
    }
  }
}
