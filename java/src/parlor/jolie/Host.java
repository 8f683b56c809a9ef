package parlor.jolie;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * The process that runs Jolie scripts of one owner, one after the other, each in an interpreter of its own.
 *
 * <p>It is started confined by a worker of Parlor, reads what to do from its standard input, answers on its standard
 * output and ends with either. What goes over the two is described in {@code src/script/jolie/wire.rs}. Nothing here
 * defends anything: the worker takes this process for hostile as soon as it has read a script.
 */
public final class Host {
  private static final int READY = 0;
  private static final int RUN = 1;
  private static final int CHECK = 2;
  /** The longest frame that is read, in bytes. */
  private static final int LONGEST = 64 * 1024 * 1024;

  private Host() {}

  /** Serves until standard input ends. The one argument is the folder with the include files. */
  public static void main(String[] arguments) throws Exception {
    Library library = new Library(arguments[0]);
    DataInputStream input = new DataInputStream(new BufferedInputStream(new FileInputStream(FileDescriptor.in)));
    DataOutputStream output =
        new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 64 * 1024));
    // What a library prints by itself must not stand between the frames.
    PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8);
    System.setOut(nowhere);
    System.setErr(nowhere);
    Log.capture();
    WarmUp.run(library);
    output.writeInt(1);
    output.writeByte(READY);
    output.flush();
    try {
      while (true) {
        serve(library, input, output);
      }
    } catch (EOFException end) {
      // Nobody asks any more. A script may have left threads behind, which would keep this process.
      System.exit(0);
    }
  }

  private static void serve(Library library, DataInputStream input, DataOutputStream output) throws IOException {
    int length = input.readInt();
    if (length < 1 || length > LONGEST) {
      throw new IOException("a frame of " + length + " bytes");
    }
    int kind = input.readUnsignedByte();
    switch (kind) {
      case RUN:
        long clock = input.readLong();
        long seed = input.readLong();
        int most = input.readInt();
        String source = text(input);
        Answer answer = new Run(library, source, text(input), clock, seed, most).make();
        answer.write(output, RUN);
        break;
      case CHECK:
        Check.of(library, text(input)).write(output, CHECK);
        break;
      default:
        throw new IOException("a frame of kind " + kind);
    }
    output.flush();
  }

  private static String text(DataInputStream input) throws IOException {
    int length = input.readInt();
    if (length < 0 || length > LONGEST) {
      throw new IOException("a text of " + length + " bytes");
    }
    return new String(input.readNBytes(length), StandardCharsets.UTF_8);
  }
}
