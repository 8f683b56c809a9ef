// Math.

type RoundRequestType: double {
  .decimals?: int
}

type PowRequest: void {
  .base: double
  .exponent: double
}

interface MathInterface {
RequestResponse:
  abs( int )( int ),
  pow( PowRequest )( double ),
  random( void )( double ),
  round( RoundRequestType )( double )
}

service Math {
  inputPort Operations {
    location: "local"
    interfaces: MathInterface
  }

  foreign java {
    class: "parlor.jolie.services.Math"
  }
}
